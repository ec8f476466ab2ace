"""python -m tapioca"""

from tapioca.cli.main import entry

entry()
