"""The package as its users get it: wheel, sdist, types, and the examples that they read."""

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import TOP, Server

PACKAGE = TOP / "clients/python"
PROGRAM = """
import pounce

def negative(replies: list[pounce.Reply]) -> list[str]:
    negative = pounce.Sentiment.SENTIMENT_NEGATIVE
    events = [reply for reply in replies if not isinstance(reply, pounce.Rejection)]
    return [event.post_id for event in events if event.sentiment == negative]

with pounce.Client() as client:
    ids: list[str] = negative(list(client.score_stream([pounce.Post(id="1", text="late")])))
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel_and_sdist_hold_the_generated_code_and_its_types(tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, PACKAGE, cwd=TOP)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in ["py.typed", "v1/post_pb2.py", "v1/post_pb2.pyi", "v1/scoring_service_pb2_grpc.py"]:
        assert f"pounce/{name}" in names
    assert all(name.startswith(("pounce/", "pounce_client-")) for name in names), names
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.glob("pounce_client-*/")
    again = tmp_path / "again"
    run(sys.executable, "-m", "build", "-w", "-n", "--outdir", again, source, cwd=tmp_path)
    (second,) = again.glob("*.whl")
    assert zipfile.ZipFile(second).namelist() == names, "an sdist makes the same wheel"


def test_types_reach_a_strict_program(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    run(sys.executable, "-m", "mypy", "--strict", "program.py", cwd=tmp_path)
    (tmp_path / "program.py").write_text(PROGRAM.replace('id="1"', "id=1"))
    with pytest.raises(AssertionError, match="arg-type"):
        run(sys.executable, "-m", "mypy", "--strict", "program.py", cwd=tmp_path)


@pytest.mark.parametrize("page", ["README.md", "clients/python/README.md"])
def test_the_examples_of_the_pages_run(page: str, shared: Server, tmp_path: Path) -> None:
    text = (TOP / page).read_text()
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert examples, "the page has an example"
    for example in examples:
        assert "127.0.0.1:50051" in example
        program = example.replace("127.0.0.1:50051", shared.grpc)
        assert "NEGATIVE" in run(sys.executable, "-c", program, cwd=tmp_path)
