from .report import write_report as write_report
from .results import (
    ClimateResults as ClimateResults,
    Field as Field,
    ModelResults as ModelResults,
    Report as Report,
    ShapeResults as ShapeResults,
)
from .run import run_demo as run_demo
