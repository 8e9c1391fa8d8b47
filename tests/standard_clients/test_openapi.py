"""The interface's description: valid, and true."""

import os
import subprocess
import sys
from pathlib import Path

import requests
from openapi_spec_validator import OpenAPIV31SpecValidator

from conftest import TOP


def test_the_document_is_valid_and_has_every_route_of_posts(server):
    document = requests.get(f"http://{server.http}/openapi.json", timeout=60).json()
    errors = list(OpenAPIV31SpecValidator(document).iter_errors())
    assert not errors
    assert document["openapi"].startswith("3.1")
    sources = (TOP / "src/http_api/mod.rs").read_text()
    for path in document["paths"]:
        assert f'"{path}"' in sources


def test_the_server_does_what_the_document_says(server, tmp_path):
    """Generates requests that the document allows and such that it does not."""
    schemathesis = Path(sys.executable).with_name("schemathesis")
    command = [
        *(schemathesis, "run", f"http://{server.http}/openapi.json"),
        *("--checks", "all", "--phases", "examples,coverage,fuzzing"),
        # A schema can't say that thresholds rise, or that a time is of a day that exists.
        *("--exclude-checks", "positive_data_acceptance"),
        *("--max-examples", "60", "--seed", "1", "--request-timeout", "30", "--no-color"),
        *("--suppress-health-check", "all"),
    ]
    hooks = {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(Path(__file__).parent)}
    environment = {**os.environ, **hooks}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
