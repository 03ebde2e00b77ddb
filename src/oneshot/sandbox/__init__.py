"""Running untrusted programs: confined, limited, and without access to the expected outputs."""

from oneshot.sandbox.confinement import PACKAGES, SandboxUnavailable
from oneshot.sandbox.workers import Limits, Report, Sandbox, SandboxError

__all__ = ["PACKAGES", "Limits", "Report", "Sandbox", "SandboxError", "SandboxUnavailable"]
