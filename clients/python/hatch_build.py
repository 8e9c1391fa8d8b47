"""Generates `pounce.v1`, the messages and stubs, from the interface in proto/ at each build."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SERVICES = ["alert_service", "care_service", "scoring_service"]
MESSAGES = ["alert", "case", "event", "post"]


class Generate(BuildHookInterface[Any]):
    """Runs protoc before the files of a wheel or an sdist are collected."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Writes `src/pounce/v1`; `version` is `standard` or `editable`."""
        root = Path(self.root)
        # In an sdist the interface is beside this file, in the repository at its top.
        proto = next(folder for folder in (root / "proto", root / "../../proto") if folder.is_dir())
        out = root / "src"
        shutil.rmtree(out / "pounce/v1", ignore_errors=True)
        run(proto, out, ["python", "mypy"], SERVICES + MESSAGES)
        run(proto, out, ["grpc_python", "mypy_grpc"], SERVICES)
        (out / "pounce/v1/__init__.py").write_text('"""Generated from proto/pounce/v1."""\n')


def run(proto: Path, out: Path, languages: list[str], files: list[str]) -> None:
    """Lets protoc write `files` of `proto` in `languages` below `out`."""
    scripts = Path(sysconfig.get_path("scripts"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{proto}"]
    for language in languages:
        command.append(f"--{language}_out={'quiet:' if 'mypy' in language else ''}{out}")
        if "mypy" in language:
            plugin = f"protoc-gen-{language}"
            found = shutil.which(plugin) or scripts / plugin
            command.append(f"--plugin={plugin}={found}")
    subprocess.run([*command, *(f"pounce/v1/{file}.proto" for file in files)], check=True)
