"""What came out of a benchmark: statistics, tables and pages."""

from recbole_diffusion.lazy import lazily

__getattr__ = lazily(__name__, read_board="board", write_pages="write")
