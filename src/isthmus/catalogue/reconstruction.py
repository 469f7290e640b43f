"""The reconstruction family: autoencoders that only reconstruct."""

from isthmus.catalogue.entry import Entry, Option

VARIANTS = (
    Entry(
        "vanilla",
        "one hidden layer, and that layer is the code",
        "The plainest autoencoder there is: for teaching, and as the yardstick for any other.",
        "Real work: the default Autoencoder() starts from PCA and never ends below it; this one does not.",
        "sum (x - x_hat)^2,  z = s(W x + b),  x_hat = V z + c",
        "any",
        (Option("activation", "str", "sigmoid", "activation of the code"),),
        "Rumelhart, Hinton & Williams 1986",
    ),
    Entry(
        "deep",
        "several hidden layers; the decoder is the encoder's mirror image",
        "Data that bends, when you want the architecture of the textbooks.",
        "Small tables, where the default Autoencoder() does better with less.",
        "sum (x - x_hat)^2,  z = f(x),  x_hat = g(z)",
        "any",
        (Option("hidden", "ints", (256, 128), "widths of the encoder's layers"),),
        "Hinton & Salakhutdinov 2006",
    ),
    Entry(
        "convolutional",
        "looks at images through small windows, the same everywhere",
        "Images larger than some 64 x 64 pixels, or with structure that may appear anywhere.",
        "Small aligned images, where dense layers learn more in the same time.",
        "sum (x - x_hat)^2 with convolutions for f and g",
        "images",
        (
            Option("channels", "ints", "auto", "channels of each stage that halves the image"),
            Option("down", "str", "strided", "strided or pool"),
            Option("up", "str", "transposed", "transposed or resize"),
        ),
        "Masci et al. 2011",
    ),
    Entry(
        "counts",
        "counts events: whole numbers that scatter more the larger they are",
        "Numbers of reads, words, visits or defects, most of them small and many of them 0.",
        "Measurements, and counts so large that they might as well be measurements.",
        "-log NB(x; mean e^x_hat, variance m + m^2 / r),  z = f(log(1 + x)),  x_hat = g(z)",
        "counts",
        (Option("zero_inflated", "bool", False, "learn besides how often a count is lost and reads 0"),),
        "Eraslan et al. 2019",
    ),
)
