"""How is a file written so that a reader never sees half of it?"""

import json
import os
from pathlib import Path


def write_json(path, value):
    """Writes JSON beside ``path`` and renames it, so that a reader never sees half of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".writing")
    beside.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    os.replace(beside, path)
