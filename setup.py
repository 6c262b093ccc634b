"""Packaging of recbole-diffusion; ``properties/`` is shipped inside the wheel."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+?)"', (HERE / "recbole_diffusion" / "__init__.py").read_text()
).group(1)

# pyarrow 20 and later may refuse numpy 1
TUNE = ["ray[tune]>=2.6.3,<2.7", "optuna>=3,<4", "pyarrow<20"]
BENCHMARK = ["statsmodels>=0.14,<0.15", "plotly>=5.20", "pyarrow<20"]
PARQUET = ["pyarrow<20"]
PICTURES = ["matplotlib>=3.8,<4", "plotly>=5.20"]
TEST = ["pytest>=8", "pytest-xdist>=3.5", "ruff>=0.6", "build>=1", "ranx>=0.3"]
TEST += [*TUNE, *BENCHMARK, *PICTURES]

setup(
    name="recbole-diffusion",
    version=VERSION,
    description="Diffusion recommenders for RecBole",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["recbole_diffusion", "recbole_diffusion.*"])
    + ["recbole_diffusion.properties"],
    package_dir={"recbole_diffusion.properties": "properties"},
    package_data={"recbole_diffusion.properties": ["*.yaml", "*/*.yaml"]},
    entry_points={"console_scripts": ["recbole-diffusion = recbole_diffusion.cli:main"]},
    python_requires=">=3.10,<3.12",  # RecBole needs ray <= 2.6.3, which has no wheel for 3.12
    install_requires=[
        "torch>=2.6",  # no upper bound: current GPUs need current releases
        "recbole==1.2.1",
        "setuptools<81",  # ray <= 2.6.3 imports pkg_resources
        "numpy>=1.26,<2",  # RecBole uses np.bool8 and np.float_
        "pandas>=2,<3",  # pandas 3: chained fillna(inplace=True) does nothing
        "scipy>=1.11,<1.13",  # LightGCN and others use dok_matrix._update
        "scikit-learn>=1.2",  # k-means of L-DiffRec; RecBole needs it anyway
        "tensorboard>=2.14",
        "packaging>=21",
        "PyYAML>=6",
        "tqdm>=4.60",
    ],
    extras_require={
        "tune": TUNE,
        "benchmark": BENCHMARK,
        "parquet": PARQUET,
        "pictures": PICTURES,
        "test": TEST,
    },
    classifiers=[
        "License :: OSI Approved :: MIT License",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
