"""Generation: walks through the code, samples like rows that are given, and how good samples are."""
