"""Running programs nobody trusts: confined, limited, and never told what the right answer is."""

from oneshot.sandbox.confinement import PACKAGES, SandboxUnavailable
from oneshot.sandbox.workers import Limits, Report, Sandbox, SandboxError

__all__ = ["PACKAGES", "Limits", "Report", "Sandbox", "SandboxError", "SandboxUnavailable"]
