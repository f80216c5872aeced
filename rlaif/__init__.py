"""rlaif: from a written constitution to preference data and aligned models.

Importing the package starts nothing: no logging is set up, no device is chosen, and neither torch nor vllm is loaded.
The parts lie on floors (docs/decisions.md); a module imports only from lower ones.
"""

__version__ = "0.1.0"
