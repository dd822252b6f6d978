"""What a fresh process imports: that it starts quickly follows from what it leaves out."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "numpy", "tokenizers", "safetensors", "pooch", "tqdm"}


def imported_after(code, *args):
    """The modules of a fresh process after `code`, which finds `args` in sys.argv[1:]."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(*sys.modules, file=sys.stderr)", *map(str, args)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


def test_importing_the_command_line_imports_no_heavy_package():
    found = imported_after("import charlm.cli, sys")
    assert "click" in found
    assert found.isdisjoint(HEAVY)


def test_every_commands_module_is_light():
    found = imported_after(
        "import charlm.cli, click, sys\n"
        "ctx = click.Context(charlm.cli.cli)\n"
        "for name in charlm.cli.COMMANDS: assert charlm.cli.cli.get_command(ctx, name)"
    )
    assert found.isdisjoint(HEAVY)


COMMAND = "import sys\nfrom charlm.cli import main\nassert main(sys.argv[1:]) == 0"
WITHOUT_TORCH = (
    "sample MODEL --length 20", "next MODEL", "score MODEL TEXT", "score MODEL TEXT --worst 1",
    "score MODEL TEXT --cache 20", "eval MODEL CORPUS", "eval MODEL TEXT --cache 20",
    "compare MODEL MODEL TEXT", "compress -q MODEL TEXT -o SMALL",
    "compress -q MODEL TEXT -o SMALL --cache 20", "decompress MODEL ARCHIVE", "fill BOTH GAPS",
    "info MODEL", "inspect MODEL TEXT", "corpus list", "eval MIXED TEXT --adapt ngram",
    "score MIXED TEXT --adapt ngram", "train CORPUS -q -o COUNTED --cell none",
)  # fmt: skip


@pytest.fixture(scope="module")
def named(charlm, model, mixed_model, both_sides_model, corpus, tmp_path_factory):
    """What the command lines above name, by name."""
    folder = tmp_path_factory.mktemp("imports")
    (folder / "TEXT").write_text("the king shall have his own again.\n")
    (folder / "GAPS").write_text("the ___ king")
    done = charlm("compress", "-q", model, folder / "TEXT", "-o", folder / "ARCHIVE")
    assert done.returncode == 0, done.stderr.decode()
    (folder / "EMPTY").mkdir()
    names = ("TEXT", "GAPS", "ARCHIVE", "SMALL", "EMPTY", "NOWHERE", "NEW", "COUNTED")
    files = {name: folder / name for name in names}
    return {
        "MODEL": model,
        "MIXED": mixed_model,
        "BOTH": both_sides_model,
        "CORPUS": corpus,
    } | files


@pytest.mark.parametrize("line", WITHOUT_TORCH)
def test_a_command_that_does_not_train_leaves_torch_unimported(named, line):
    named["SMALL"].unlink(missing_ok=True)
    found = imported_after(COMMAND, *(named.get(word, word) for word in line.split()))
    assert found.isdisjoint({"torch", "tokenizers", "tqdm"})


REFUSED = "import sys\nfrom charlm.cli import main\nassert main(sys.argv[1:]) in (1, 2)"
AT_A_LOOK = (
    "train CORPUS -o MODEL", "train CORPUS -o MODEL --init MODEL",
    "train CORPUS -o MODEL --seeds 2",
    "train CORPUS -o TEXT", "train NOWHERE -o NEW", "train EMPTY -o NEW", "train MODEL -o NEW",
    "train --resume NOWHERE", "train --resume EMPTY", "train CORPUS -o NEW --tensorboard TEXT",
    "train CORPUS -o NEW --cell nome", "train CORPUS -o NEW --width 0", "train CORPUS",
)  # fmt: skip


@pytest.mark.parametrize("line", AT_A_LOOK)
def test_what_a_look_at_the_disk_refuses_is_refused_before_a_heavy_import(named, line):
    found = imported_after(REFUSED, *(named.get(word, word) for word in line.split()))
    assert found.isdisjoint(HEAVY)
    assert not named["NEW"].exists()


def test_training_leaves_torchs_compiler_unimported(corpus, tmp_path):
    """Which takes two seconds to import, and which `import torch` alone leaves out."""
    small = "--width 16 --batch 4 --context 16 --device cpu --steps 5 --optimizer muon"
    found = imported_after(COMMAND, "train", corpus, "-o", tmp_path / "run", *small.split())
    assert "torch" in found
    assert "torch._dynamo" not in found
