# SPDX-License-Identifier: Apache-2.0
"""The resource types of FHIR R4, and whether a resource is a valid one, told by fhir.resources.

The library (https://pypi.org/project/fhir.resources/) has models of R4B and no longer of R4. The two have the same
clinical resources: R4B changed those about evidence, medicinal products and subscriptions
(https://hl7.org/fhir/R4B/diff.html). All 1135 resources of the Synthea R4 sample are valid R4B. A type that R4B dropped
is known here, and no column can be made from it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from cloister.records.fhir.path import Resource

_R4_ONLY = frozenset(
    {
        "EffectEvidenceSynthesis",
        "MedicinalProduct",
        "MedicinalProductAuthorization",
        "MedicinalProductContraindication",
        "MedicinalProductIndication",
        "MedicinalProductIngredient",
        "MedicinalProductInteraction",
        "MedicinalProductManufactured",
        "MedicinalProductPackaged",
        "MedicinalProductPharmaceutical",
        "MedicinalProductUndesirableEffect",
        "RiskEvidenceSynthesis",
        "SubstanceNucleicAcid",
        "SubstancePolymer",
        "SubstanceProtein",
        "SubstanceReferenceInformation",
        "SubstanceSourceMaterial",
        "SubstanceSpecification",
    }
)
_LONGEST_NAME = 40


def is_resource_type(name: str) -> bool:
    """Whether FHIR R4 has resources of that type."""
    return name in _R4_ONLY or has_model(name)


def has_model(name: str) -> bool:
    """Whether resources of that type can be checked, and so be read."""
    return len(name) <= _LONGEST_NAME and name.isascii() and name.isalpha() and _model(name) is not None


def is_valid(resource: Resource) -> bool:
    """Whether a resource has what its type must have, and nothing that its type has not.

    The library checks elements, their types, how many there are, and the form of dates, ids and the like. It does not
    check codes against value sets, nor profiles.
    """
    try:
        _model(resource["resourceType"]).model_validate(resource)
    except (ValueError, TypeError, AssertionError):  # the library's validators raise these about what they are given
        return False
    return True


@lru_cache(maxsize=1024)
def _model(name: str) -> Any:
    # Takes a fifth of a second to load, and most stores are of another kind.
    from fhir.resources.R4B import get_fhir_model_class  # noqa: PLC0415
    from fhir.resources.R4B.resource import Resource as AnyResource  # noqa: PLC0415

    try:
        model = get_fhir_model_class(name)
    except ValueError:
        return None
    is_concrete = issubclass(model, AnyResource) and name not in ("Resource", "DomainResource")
    return model if is_concrete and model.get_resource_type() == name else None
