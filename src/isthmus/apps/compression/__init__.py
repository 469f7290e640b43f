"""Files that are truly smaller, with a bound that holds and a decoder that never lies.

values -- Grid --> integers -- Engine --> payload -- container --> .isth        and back, without torch
"""
