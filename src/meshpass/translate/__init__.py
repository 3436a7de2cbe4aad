"""ObjectSet → IR and Report: which policy holds on which route of which proxy. Total and deterministic, no IO.

A user's mistake is a Finding about an object, never an exception. The only package that knows both ``api`` and ``ir``.
"""

from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.report import Report
from meshpass.translate.settings import FeatureGates, TranslateSettings, parse_feature_gates
from meshpass.translate.translation import Translation, translate

__all__ = [
    "FeatureGates",
    "Finding",
    "Reason",
    "Report",
    "Severity",
    "TranslateSettings",
    "Translation",
    "parse_feature_gates",
    "translate",
]
