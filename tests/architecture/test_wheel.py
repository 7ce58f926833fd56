"""The wheel, not the tree: what is in it, and what importing it brings along."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_has_exactly_our_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert top == {"rfm_runtime", "rfm_kernels", "rfm_ui"}
    assert "rfm_runtime/py.typed" in names
    assert "rfm_kernels/py.typed" in names
    assert "rfm_ui/py.typed" in names
    assert "rfm_runtime/core/pages/style.css" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_installed_wheel_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", str(tmp_path / "env")],
        check=True,
    )
    site = next((tmp_path / "env" / "lib").glob("python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # The dependencies come from the environment the tests run in; our own packages from the wheel.
    own = next(Path(entry) for entry in sys.path if entry.endswith("site-packages"))
    (site / "dependencies.pth").write_text(str(own) + "\n", encoding="utf-8")
    python = tmp_path / "env" / "bin" / "python"
    run = subprocess.run(
        [
            *(str(python), "-P", "-c"),
            "import rfm_runtime, rfm_kernels; print(rfm_runtime.__file__); print(rfm_kernels.__file__)",
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert all(line.startswith(str(site)) for line in run.stdout.splitlines())
    version = subprocess.run(
        [str(python), "-P", "-m", "rfm_runtime.cli", "--version"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert version.stdout.strip().endswith(wheel.name.split("-")[1])


@pytest.mark.parametrize(
    "module",
    ["rfm_runtime", "rfm_runtime.client", "rfm_runtime.cli", "rfm_runtime.broker", "rfm_runtime.gateway"],
)
def test_what_does_not_compute_never_loads_numba(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('numba', 'rfm_kernels', 'llvmlite') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "[]"


def test_importing_the_package_loads_neither_zmq_nor_websockets() -> None:
    code = "import sys, rfm_runtime; print([m for m in ('zmq', 'websockets', 'numpy') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "[]"
