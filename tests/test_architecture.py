"""The shape of the house: imports point only down, no cycles, and the shop window shows what there is."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import isthmus
from isthmus.catalogue import VARIANTS

SOURCE = Path(isthmus.__file__).parent
MODULES = {
    ".".join(("isthmus", *file.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__"): file
    for file in SOURCE.rglob("*.py")
}
# From the ground up. A module may import from its own layer and from those below it.
LAYERS = [
    ("isthmus.errors", "isthmus.layout", "isthmus.catalogue", "isthmus.atomic"),
    ("isthmus.parts",),
    (
        "isthmus.data",
        "isthmus.model",
        "isthmus.components",
        "isthmus.designs",
        "isthmus.history",
        "isthmus.training",
        "isthmus.lockstep",
        "isthmus.engine",
        "isthmus.callbacks",
        "isthmus.inference",
        "isthmus.threads",
        "isthmus.residence",
        "isthmus.chunks",
    ),
    (
        "isthmus.estimator",
        "isthmus.many",
        "isthmus.variants",
        "isthmus.persistence",
        "isthmus.folder",
        "isthmus.conditions",
        "isthmus.inputs",
        "isthmus.resolution",
        "isthmus.scores",
        "isthmus.codestats",
        "isthmus.sampling",
        "isthmus.splitting",
        "isthmus.precision",
    ),
    ("isthmus.apps", "isthmus.loading"),
    ("isthmus.cli", "isthmus.web", "isthmus.__main__"),
]


def layer(module: str) -> int:
    for height, names in enumerate(LAYERS):
        if any(module == name or module.startswith(name + ".") for name in names):
            return height
    raise AssertionError(f"{module} stands in no layer; say in LAYERS where it belongs")


def imports(module: str, file: Path) -> set[str]:
    """Return the modules of the house that ``module`` imports: anywhere, for types too, so that nothing can hide."""
    tree = ast.parse(file.read_text())
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names}
    return {name for name in found if name in MODULES and name not in ("isthmus", module)}


@pytest.mark.parametrize("module", [name for name in MODULES if name != "isthmus"])
def test_imports_point_only_down(module: str) -> None:
    for imported in imports(module, MODULES[module]):
        assert layer(imported) <= layer(module), f"{module} imports {imported}, which stands above it"


def test_mathematics_and_data_do_not_know_each_other() -> None:
    for module, file in MODULES.items():
        for here, there in (("isthmus.parts", "isthmus.data"), ("isthmus.data", "isthmus.parts")):
            if module.startswith(here):
                assert not [name for name in imports(module, file) if name.startswith(there)], module


def test_there_are_no_cycles() -> None:
    graph = {module: imports(module, file) for module, file in MODULES.items() if module != "isthmus"}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path, module])
        if module not in done:
            for imported in graph.get(module, ()):
                # a package's own __init__ gathers its modules; they do not import it back
                visit(imported, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_files_stay_under_five_hundred_lines() -> None:
    for module, file in MODULES.items():
        assert len(file.read_text().splitlines()) <= 500, f"{module} has outgrown its room"


def test_the_shop_window_is_exact() -> None:
    for name in isthmus.__all__:
        assert getattr(isthmus, name).__doc__, f"isthmus.{name} has no docstring"
    assert sorted(isthmus.__all__) == sorted(isthmus._HOME)
    assert {entry.name for entry in VARIANTS} <= set(isthmus.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Perpetuum'"):
        _ = isthmus.Perpetuum


def test_every_variant_of_the_catalogue_is_a_function_with_those_options() -> None:
    import inspect

    for entry in VARIANTS:
        parameters = inspect.signature(getattr(isthmus, entry.name)).parameters
        for option in entry.options:
            assert parameters[option.name].default == option.default, (entry.name, option.name)


def test_importing_isthmus_costs_neither_torch_nor_scikit_learn() -> None:
    script = "import sys, isthmus; print([m for m in ('torch', 'sklearn', 'numpy', 'pandas') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
        == "[]"
    )


def test_a_fit_of_an_array_imports_nothing_beyond_torch_and_the_base_of_scikit_learn() -> None:
    # scikit-learn imports pandas, and that Arrow, wherever pandas is installed; without it, who imports Arrow is ourselves
    script = (
        "import sys; sys.modules['pandas'] = None\n"
        "import numpy as np, torch, sklearn.base; before = set(sys.modules)\n"
        "import isthmus as ist; X = np.random.default_rng(0).normal(size=(100, 5))\n"
        "ae = ist.Autoencoder(latent_dim=2, max_epochs=2, random_state=0).fit(X)\n"
        "ae.inverse_transform(ae.transform(X)), ae.score_samples(X)\n"
        "own = {'isthmus', 'safetensors', *sys.stdlib_module_names}\n"
        "print(sorted(name for name in set(sys.modules) - before if name.split('.')[0] not in own))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_nothing_unpickles() -> None:
    for module, file in MODULES.items():
        text = file.read_text()
        for word in ("import pickle", "torch.load(", "allow_pickle=True", "joblib.load", "eval("):
            assert word not in text.replace(".eval(", ""), f"{module} has {word}"


def test_the_page_of_the_catalogue_says_what_the_code_says() -> None:
    import runpy

    folder = Path(__file__).parents[1] / "docs"
    page = runpy.run_path(str(folder / "make_catalogue.py"))["page"]
    assert (folder / "catalogue.md").read_text() == page(), "run `python docs/make_catalogue.py`"
