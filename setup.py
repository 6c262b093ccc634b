"""What is in the wheel: the package, and ``properties/`` inside it. The rest is pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=find_packages(include=["recbole_diffusion", "recbole_diffusion.*"])
    + ["recbole_diffusion.properties"],
    package_dir={"recbole_diffusion.properties": "properties"},
    package_data={"recbole_diffusion.properties": ["*.yaml", "*/*.yaml"]},
)
