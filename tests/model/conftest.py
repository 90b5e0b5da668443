"""Makes the traces' own modules importable, as `tests/store` and `tests/crash` do with theirs."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
