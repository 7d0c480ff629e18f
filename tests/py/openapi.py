"""Judges the OpenAPI document on standard input by a validator that is not ours."""

import json
import sys

from openapi_spec_validator import OpenAPIV31SpecValidator

problems = [
    f"{'/'.join(str(part) for part in error.absolute_path)}: {error.message}"
    for error in OpenAPIV31SpecValidator(json.load(sys.stdin)).iter_errors()
]
print("\n".join(problems), file=sys.stderr)
sys.exit(1 if problems else 0)
