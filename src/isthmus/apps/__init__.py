"""What users want done with a fitted autoencoder: each module computes and returns, the doors show."""
