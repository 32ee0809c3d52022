"""Operators and countries by mobile network code."""

from __future__ import annotations

import pytest

from neogate_lab.protocol import networks
from neogate_lab.protocol.networks import operator_of


@pytest.mark.parametrize(
    ("code", "operator", "country"),
    [
        ("250010000000001", "MTS", "RU"),
        ("25002", "MegaFon", "RU"),
        ("250-99", "Beeline", "RU"),
        ("460000000000011", "China Mobile", "CN"),
        ("61302", "Orange", "BF"),
        ("310410000000001", "AT&T", "US"),
        ("310 260", "T-Mobile", "US"),
        ("722310", "Claro", "AR"),
        ("72207", "Movistar", "AR"),
        ("001010000000001", "Test network", ""),
        ("25098", "", "RU"),
        ("250", "", "RU"),
        ("999990000000001", "", ""),
        ("901180000000001", "", ""),
        ("", "", ""),
        ("25", "", ""),
        ("MegaFon", "", ""),
        ("2500x", "", ""),
        ("+25001", "", ""),
    ],
)
def test_operator_of(code: str, operator: str, country: str) -> None:
    assert operator_of(code) == (operator, country)


def test_the_table_is_well_formed() -> None:
    for plmn, name in networks._OPERATOR_BY_PLMN.items():
        assert plmn.isdecimal()
        assert len(plmn) in (5, 6)
        assert name == name.strip() != ""
        assert plmn[:3] == "001" or plmn[:3] in networks._COUNTRY_BY_MCC
    for mcc, country in networks._COUNTRY_BY_MCC.items():
        assert mcc.isdecimal()
        assert len(mcc) == 3
        assert country.isalpha()
        assert country.isupper()
        assert len(country) == 2


def test_no_code_is_listed_twice() -> None:
    codes = [
        mcc + mnc
        for line in networks._OPERATORS.strip().splitlines()
        for mcc, _, rest in [line.partition(": ")]
        for network in rest.split("; ")
        for mnc in network.partition(" ")[0].split(",")
    ]
    assert len(codes) == len(set(codes))
