"""The demonstration: training on what the project ships, and a report of it."""

from meshconv.demo.report import write_report
from meshconv.demo.results import ClimateResults, Field, ModelResults, Report, ShapeResults
from meshconv.demo.run import run_demo

__all__ = ["ClimateResults", "Field", "ModelResults", "Report", "ShapeResults", "run_demo", "write_report"]
