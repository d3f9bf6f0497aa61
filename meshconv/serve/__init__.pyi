from .app import (
    make_app as make_app,
    run as run,
)
from .worker import (
    Limits as Limits,
    Worker as Worker,
)
