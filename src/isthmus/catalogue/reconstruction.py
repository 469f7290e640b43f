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
        "stacked",
        "layers trained one by one from the data up, then all together",
        "Very deep or saturating (sigmoid, tanh) networks, and lessons in how deep learning began.",
        "Most data: modern activations train deep() as well without the detour.",
        "sum (r_i - s(V s(W r_i + b) + c))^2 layer by layer, then sum (x - x_hat)^2",
        "any",
        (Option("hidden", "ints", (256, 128), "widths of the encoder's layers"),),
        "Hinton & Salakhutdinov 2006; Bengio et al. 2007",
    ),
)
