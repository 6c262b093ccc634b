"""What is in the wheel: the package, with ``properties/`` and ``dataset_scripts/`` inside it.

The rest is pyproject.toml.
"""

from setuptools import find_packages, setup

setup(
    packages=find_packages(include=["recbole_diffusion", "recbole_diffusion.*"])
    + ["recbole_diffusion.properties", "recbole_diffusion.dataset_scripts"],
    package_dir={
        "recbole_diffusion.properties": "properties",
        "recbole_diffusion.dataset_scripts": "dataset_scripts",
    },
    package_data={"recbole_diffusion.properties": ["*.yaml", "*/*.yaml"]},
)
