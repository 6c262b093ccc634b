"""What RecBole 1.2.1 needs on today's dependencies. Nothing else in the package patches anything.

Version bounds that cannot be patched are in setup.py; ``recbole-diffusion doctor`` checks them.
"""

import warnings

# (message, category): warnings of the host that tell a user nothing
_NOISE = [
    # recbole/trainer/trainer.py: amp.GradScaler(enabled=...) on torch >= 2.4
    (r"`torch.cuda.amp.GradScaler", FutureWarning),
    # recbole/data/dataset/dataset.py: feat[field].fillna(inplace=True), sound before pandas 3
    (r"A value is trying to be set on a copy", FutureWarning),
    # recbole/data/interaction.py: np.argsort of a tensor on numpy 1.26
    (r"__array_wrap__ must accept", DeprecationWarning),
    # scipy 1.12 asks for numpy < 1.29, torch's loader for writable arrays: both harmless here
    (r"The given NumPy array is not writable", UserWarning),
    # ray <= 2.6.3 imports it; setup.py bounds setuptools for that reason
    (r"pkg_resources is deprecated as an API", UserWarning),
]


def apply():
    """Silences the host's known warnings. Called by our entry points, never on import."""
    for message, category in _NOISE:
        warnings.filterwarnings("ignore", message=message, category=category)
