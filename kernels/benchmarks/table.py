"""The table of a benchmark: a CSV file that is written after every measurement."""

import csv
import hashlib
import io
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ofa_mi.errors import DataError
from ofa_mi.utils.files import atomic_write

RESULTS = ("ms", "tflops", "gbps", "fraction", "peak_mib", "error", "note")
ENVIRONMENT = ("device", "torch", "triton", "code")  # measurements of another one are not taken over
KERNELS = Path(__file__).parents[1]


def environment(device: torch.device) -> dict[str, str]:
    """Device, versions, a digest of the kernels' source, and the date."""
    digest = hashlib.sha256()
    for path in sorted(KERNELS.rglob("*.py")):
        digest.update(path.read_bytes())
    try:
        triton = version("triton")
    except PackageNotFoundError:
        triton = "none"
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name(),
        "torch": torch.__version__,
        "triton": triton,
        "code": digest.hexdigest()[:12],
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def _cpu_name() -> str:
    """Such as ``AMD EPYC 9R14, 1 thread (CPU)``."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    name = found.group(1) if found else platform.processor() or platform.machine()
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' if threads > 1 else ''} (CPU)"


class Table:
    """Rows of measurements, by the columns that say what was measured.

    Args:
        path: CSV file; read if it is there.
        keys: Columns that tell the rows from each other.
        environment: Of all rows that are added, see :func:`environment`. Rows of another one are dropped.

    Raises:
        DataError: The file is there and is no such table.
    """

    def __init__(self, path: Path, keys: tuple[str, ...], environment: dict[str, str]) -> None:
        self.path, self.keys, self.environment = path, keys, environment
        self.columns = (*keys, *RESULTS, *ENVIRONMENT, "date")
        self.rows: list[dict[str, str]] = []
        if path.exists():
            self._read()

    def _read(self) -> None:
        with self.path.open(newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != self.columns:
                raise DataError(f"{self.path}: is no table of this benchmark; remove it or choose another --out")
            rows = list(reader)
        self.rows = [row for row in rows if all(row[name] == self.environment[name] for name in ENVIRONMENT)]

    def has(self, key: dict[str, object]) -> bool:
        """Whether this was measured already."""
        return any(all(row[name] == str(key[name]) for name in self.keys) for row in self.rows)

    def add(self, key: dict[str, object], results: dict[str, object]) -> None:
        """Keep a measurement, and write the file."""
        values = key | results | self.environment
        self.rows.append({name: _text(values.get(name)) for name in self.columns})
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        atomic_write(self.path, text.getvalue().encode())


def _text(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
