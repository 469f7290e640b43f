"""The command line: files in, files out. It shows what the library computes, and computes nothing itself."""

# Commands import torch, numpy and pyarrow where they use them: `isthmus --help` answers at once.

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from isthmus import __version__
from isthmus.cli.cleaning import denoise
from isthmus.cli.compressing import compress, decompress, inspect, verify
from isthmus.cli.detecting import detect
from isthmus.cli.exits import DESCRIBED, explain
from isthmus.cli.exploring import explore
from isthmus.cli.filling import impute
from isthmus.cli.finding import cluster, search
from isthmus.cli.fitting import demo, fit
from isthmus.cli.generating import interpolate, sample
from isthmus.cli.serving import export, serve
from isthmus.cli.showing import info, report, variants
from isthmus.cli.studying import draw_map, features, latent_dims
from isthmus.cli.synthesizing import augment, synthesize
from isthmus.cli.using import decode, encode, reconstruct
from isthmus.errors import DataWarning

__all__ = ["app", "main"]

app = typer.Typer(
    name="isthmus",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=DESCRIBED,
)
COMMANDS = (
    demo,
    fit,
    encode,
    decode,
    reconstruct,
    sample,
    interpolate,
    synthesize,
    augment,
    impute,
    denoise,
    detect,
    search,
    cluster,
    compress,
    decompress,
    verify,
    inspect,
    features,
    latent_dims,
    explore,
    serve,
    export,
    report,
    info,
    variants,
)
for command in COMMANDS:
    app.command()(command)
app.command("map")(draw_map)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"isthmus {__version__}")
        raise typer.Exit


@app.callback()
def describe(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; allowed anywhere.")] = False,
) -> None:
    """Train an autoencoder on your own data, and put it to work.

    Start with `isthmus demo`, then `isthmus fit DATA -o MODEL`.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors become one sentence on standard error."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    with warnings.catch_warnings():
        # What libraries tell their programmers is not for the user of a command; what was done to the data is.
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", DataWarning)
        warnings.showwarning = _show_warning
        try:
            app(given, prog_name="isthmus")
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except Exception as error:  # the one place where every error ends: what is no sentence yet becomes one
            if debug:
                traceback.print_exc()
            code, sentence = explain(error)
            print(f"isthmus: {sentence}", file=sys.stderr)
            return code
    return 0


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"note: {message}", file=sys.stderr)
