"""The arguments and flags that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Argument(metavar="DATA", help="CSV, Parquet, npy, IDX, Zarr, .. or a folder of images.")]
Model = Annotated[Path, typer.Option("-m", "--model", metavar="MODEL", help="The folder of a saved model.")]
Out = Annotated[
    Path, typer.Option("-o", "--out", metavar="OUT", help="Where to write; the extension chooses the format.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")]

# What fit takes besides: the keywords of Autoencoder under their own names, and how a file is read.
_DATA, _MODEL, _TRAINING = "How the file is read", "What is learned", "How it is trained"

Folder = Annotated[Path, typer.Option("-o", "--out", metavar="MODEL", help="The model folder to write.")]
Gaps = Annotated[
    list[str] | None,
    typer.Option(
        "--gaps", metavar="MARK", help='A cell that means "missing", such as "?"; repeatable.', rich_help_panel=_DATA
    ),
]
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header", help="Does the first row hold names? Found out by default.", rich_help_panel=_DATA
    ),
]
Columns = Annotated[
    str | None, typer.Option(metavar="A,B", help="Learn from these columns only.", rich_help_panel=_DATA)
]
Drop = Annotated[str | None, typer.Option(metavar="A,B", help="Leave these columns out.", rich_help_panel=_DATA)]
Window = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Read the rows as a series, in windows of so many.", rich_help_panel=_DATA),
]
Step = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="A window begins every so many rows.", rich_help_panel=_DATA)
]
Config = Annotated[Path | None, typer.Option(metavar="FILE", help="Settings from a .toml or .yaml file; flags win.")]
Variant = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A variant of the catalogue (isthmus variants).", rich_help_panel=_MODEL),
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="KEY=VALUE", help="An option of the variant; repeatable.", rich_help_panel=_MODEL),
]
LatentDim = Annotated[str | None, typer.Option(metavar="N|auto", help="Size of the code.", rich_help_panel=_MODEL)]
Network = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="auto, mlp, conv, transformer ..", rich_help_panel=_MODEL),
]
Bottleneck = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="plain, gaussian, top_k ..", rich_help_panel=_MODEL),
]
Reconstruction = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="auto, squared_error, huber, bernoulli, normal, mixed ..", rich_help_panel=_MODEL
    ),
]
Condition = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="Columns that encoder and decoder are told.", rich_help_panel=_MODEL),
]
Scale = Annotated[
    str | None, typer.Option(metavar="NAME", help="auto, common, columns, range or none.", rich_help_panel=_MODEL)
]
Shortcut = Annotated[
    bool | None,
    typer.Option("--shortcut/--no-shortcut", help="Start from PCA? By default where possible.", rich_help_panel=_MODEL),
]
Effort = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="quick, default or thorough: how long to train.", rich_help_panel=_TRAINING),
]
MaxEpochs = Annotated[
    int | None, typer.Option(metavar="N", help="At most so many passes over the data.", rich_help_panel=_TRAINING)
]
BatchSize = Annotated[str | None, typer.Option(metavar="N|auto", help="Rows a step.", rich_help_panel=_TRAINING)]
LearningRate = Annotated[
    str | None, typer.Option(metavar="X|auto", help="Peak of the learning rate.", rich_help_panel=_TRAINING)
]
EarlyStopping = Annotated[
    bool | None,
    typer.Option(
        "--early-stopping/--no-early-stopping", help="Stop when held-out rows gain no more.", rich_help_panel=_TRAINING
    ),
]
ValidationFraction = Annotated[
    float | None,
    typer.Option(metavar="X", help="Share of rows held out, to stop by and to report on.", rich_help_panel=_TRAINING),
]
WeightDecay = Annotated[
    float | None, typer.Option(metavar="X", help="Decoupled weight decay.", rich_help_panel=_TRAINING)
]
Seed = Annotated[int | None, typer.Option("--random-state", metavar="N", help="The seed.")]
RandomState = Annotated[
    int | None, typer.Option(metavar="N", help="The seed: same seed, same model.", rich_help_panel=_TRAINING)
]
Device = Annotated[str | None, typer.Option(metavar="NAME", help="auto, cpu or cuda.", rich_help_panel=_TRAINING)]
Checkpoint = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Save every epoch there, and resume from there.", rich_help_panel=_TRAINING),
]
NoReport = Annotated[bool, typer.Option("--no-report", help="Write no report.html.")]
