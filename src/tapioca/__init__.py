"""Task-aware layer pruning and the geometry that explains it.

Names are imported when first used (`__init__.pyi` lists them), so `import tapioca` loads no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
