"""Denoising: from clean examples, from noisy ones alone, or from one picture alone.

noisy --linear answer--> w --zero-initialised network--> w + f(noisy - w, w, level)      (clean, noisy)
noisy --groups of alike patches, a linear autoencoder each--> average of the patches     (single)
"""
