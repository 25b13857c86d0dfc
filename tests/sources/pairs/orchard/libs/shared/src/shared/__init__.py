"""Its modules are named in the stub beside this file, which is read at run time."""

import lazy_loader

from ._version import __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
