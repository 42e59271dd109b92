"""Packaging: what is installed, what it needs, and the one console script."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "asr_rescore/__init__.py").read_text("utf-8"), re.MULTILINE)[1]

setup(
    name="asr-rescore",
    version=VERSION,
    description="Trains large language models, distils them into small ones, and rescores Kaldi's lattices with either",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["asr_rescore", "asr_rescore.*"]),
    python_requires=">=3.10",
    # Each is justified in CONTRIBUTING.md; the versions tested are in constraints.txt.
    install_requires=[
        "torch>=2.1",
        "kaldiio>=2.18",
        "jiwer>=4.0",
        "numpy>=2.0",
        "pyyaml>=6.0",
        "safetensors>=0.4",
        "tqdm>=4.60",
    ],
    extras_require={
        "test": ["pytest>=8.0", "hypothesis>=6.100", "setuptools>=77"],
        "dev": ["ruff>=0.9"],
    },
    entry_points={"console_scripts": ["asr-rescore = asr_rescore.cli.main:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
