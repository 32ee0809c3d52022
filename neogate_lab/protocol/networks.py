"""Which operator and country a mobile network code belongs to; a table, and the way to look in it.

Countries: every geographic mobile country code of ITU-T Recommendation E.212 (Annex to the ITU
Operational Bulletin), as ISO 3166-1 alpha-2. Operators: the large networks of the countries where
these gateways are in use, under the name that the public knows; an operator that is not listed is
"", never a guess. No kept package carries this data: mobile-codes ended in 2014, and mccmnc comes
empty and loads its data from a web page.
"""

from __future__ import annotations

import re

__all__ = ["operator_of"]

_MCC = """
AD 213 AE 424,430,431 AF 412 AG 344 AI 365 AL 276 AM 283 AO 631 AR 722 AS 544 AT 232 AU 505
AW 363 AZ 400 BA 218 BB 342 BD 470 BE 206 BF 613 BG 284 BH 426 BI 642 BJ 616 BM 350 BN 528
BO 736 BR 724 BS 364 BT 402 BW 652 BY 257 BZ 702 CA 302 CD 630 CF 623 CG 629 CH 228 CI 612
CK 548 CL 730 CM 624 CN 460,461 CO 732 CR 712 CU 368 CV 625 CW 362 CY 280 CZ 230 DE 262 DJ 638
DK 238 DM 366 DO 370 DZ 603 EC 740 EE 248 EG 602 ER 657 ES 214 ET 636 FI 244 FJ 542 FK 750
FM 550 FO 288 FR 208 GA 628 GB 234,235 GD 352 GE 282 GF 742 GH 620 GI 266 GL 290 GM 607 GN 611
GP 340 GQ 627 GR 202 GT 704 GU 310,311 GW 632 GY 738 HK 454 HN 708 HR 219 HT 372 HU 216 ID 510
IE 272 IL 425 IN 404,405,406 IO 995 IQ 418 IR 432 IS 274 IT 222 JM 338 JO 416 JP 440,441 KE 639
KG 437 KH 456 KI 545 KM 654 KN 356 KP 467 KR 450 KW 419 KY 346 KZ 401 LA 457 LB 415 LC 358
LI 295 LK 413 LR 618 LS 651 LT 246 LU 270 LV 247 LY 606 MA 604 MC 212 MD 259 ME 297 MG 646
MH 551 MK 294 ML 610 MM 414 MN 428 MO 455 MP 534 MR 609 MS 354 MT 278 MU 617 MV 472 MW 650
MX 334 MY 502 MZ 643 NA 649 NC 546 NE 614 NG 621 NI 710 NL 204 NO 242 NP 429 NR 536 NU 555
NZ 530 OM 422 PA 714 PE 716 PF 547 PG 537 PH 515 PK 410 PL 260 PM 308 PR 330 PT 268 PW 552
PY 744 QA 427 RE 647 RO 226 RS 220 RU 250 RW 635 SA 420 SB 540 SC 633 SD 634 SE 240 SG 525
SH 658 SI 293 SK 231 SL 619 SM 292 SN 608 SO 637 SR 746 SS 659 ST 626 SV 706 SY 417 SZ 653
TC 376 TD 622 TG 615 TH 520 TJ 436 TK 554 TL 514 TM 438 TN 605 TO 539 TR 286 TT 374 TV 553
TW 466 TZ 640 UA 255 UG 641 US 310,311,312,313,314,315,316 UY 748 UZ 434 VA 225 VC 360 VE 734
VG 348 VI 332 VN 452 VU 541 WF 543 WS 549 XK 221 YE 421 YT 647 ZA 655 ZM 645 ZW 648
"""

# One line an MCC: network codes, then the name; two- and three-digit codes are different codes.
_OPERATORS = """
001: 01 Test network
202: 01,02 Cosmote; 05 Vodafone; 09,10 Nova
204: 04 Vodafone; 08,10,12,69 KPN; 16,20 Odido
206: 01 Proximus; 10 Orange; 20 Telenet
208: 01,02 Orange; 09,10,11,13 SFR; 15,16 Free; 20,21,88 Bouygues
214: 01,06 Vodafone; 03 Orange; 04 Yoigo; 05,07 Movistar
216: 01 Yettel; 30 Telekom; 70,71 One
218: 03 HT-ERONET; 05 m:tel; 90 BH Telecom
219: 01 Hrvatski Telekom; 02 Telemach; 10 A1
220: 01 Yettel; 03 mts; 05 A1
222: 01 TIM; 10 Vodafone; 50 Iliad; 88,99 WindTre
226: 01 Vodafone; 03,06 Telekom; 05 Digi; 10 Orange
228: 01 Swisscom; 02 Sunrise; 03 Salt
230: 01 T-Mobile; 02 O2; 03 Vodafone
231: 01,05 Orange; 02,04 Telekom; 03 4ka; 06 O2
232: 01 A1; 03,07 Magenta; 05,10 Drei
234: 10,11 O2; 15 Vodafone; 20,94 Three; 30,31,32,33,34 EE
238: 01 TDC; 02,77 Telenor; 06 3; 20 Telia
240: 01 Telia; 02,04 3; 06,08,24 Telenor; 07 Tele2
242: 01 Telenor; 02 Telia; 14 Ice
244: 05,21 Elisa; 12 DNA; 91 Telia
246: 01 Telia; 02 Bite; 03 Tele2
247: 01 LMT; 02 Tele2; 05 Bite
248: 01 Telia; 02 Elisa; 03 Tele2
250: 01 MTS; 02 MegaFon; 11 Yota; 20 Tele2; 28,99 Beeline; 35 Motiv; 39 Rostelecom; 60 Volna
255: 01 Vodafone; 02,03 Kyivstar; 06 lifecell
257: 01 A1; 02 MTS; 04 life:)
259: 01 Orange; 02 Moldcell; 03,05,99 Moldtelecom
260: 01 Plus; 02 T-Mobile; 03 Orange; 06 Play
262: 01,06 Telekom; 02,04,09 Vodafone; 03,05,07,08,11 O2; 23 1&1
268: 01 Vodafone; 03 NOS; 06,80 MEO
272: 01 Vodafone; 02,05 Three; 03 Eir
276: 01 One; 02 Vodafone
280: 01 Cyta; 10 Epic; 20 PrimeTel
282: 01 Silknet; 02 Magti; 04 Cellfie
283: 01 Team; 05 Viva; 10 Ucom
284: 01 A1; 03 Vivacom; 05 Yettel
286: 01 Turkcell; 02 Vodafone; 03 Turk Telekom
293: 40 A1; 41 Telekom Slovenije; 64 T-2; 70 Telemach
294: 01 Telekom; 03 A1
297: 01 One; 02 Telekom; 03 m:tel
302: 220,221 Telus; 370 Fido; 490 Freedom; 500,510 Videotron; 610,640 Bell; 720 Rogers; 780 SaskTel
310: 030,070,150,170,280,380,410,560,680 AT&T; 004,010,012,013,590,890 Verizon
310: 160,200,210,220,230,240,250,260,270,310,490,660,800 T-Mobile; 120 Sprint
311: 480,481,482,483,484,485,486,487,488,489 Verizon; 490,870,880 Sprint; 580 U.S. Cellular
334: 020 Telcel; 030,03 Movistar; 050,090 AT&T
400: 01 Azercell; 02 Bakcell; 04 Nar
401: 01 Beeline; 02 Kcell; 07 Altel; 77 Tele2
404: 10,40,45,49,70,90,92,93,94,95,96,97,98 Airtel; 11,20,27,30,43,46,60,84,86,88 Vodafone Idea
404: 34,38,51,53,54,55,57,58,59,62,64,66,71,72,73,74,75,76,77,80,81 BSNL; 68,69 MTNL
405: 840,854,855,856,857,858,859,860,861,862,863,864,865,866,867,868,869,870,871,872,873,874 Jio
405: 51,52,53,54,55,56 Airtel
410: 01 Jazz; 03 Ufone; 04 Zong; 06 Telenor; 07 Jazz
412: 01 AWCC; 20 Roshan; 40 MTN; 50 Etisalat
413: 01 SLTMobitel; 02 Dialog; 05 Airtel; 08 Hutch
414: 01 MPT; 05 Ooredoo; 06 Atom; 09 Mytel
415: 01 Alfa; 03 Touch
416: 01 Zain; 03 Umniah; 77 Orange
418: 05 Asiacell; 20,30 Zain; 40 Korek
419: 02 Zain; 03 Ooredoo; 04 stc
420: 01 stc; 03 Mobily; 04 Zain
422: 02 Omantel; 03 Ooredoo
424: 02 Etisalat; 03 du
425: 01 Partner; 02 Cellcom; 03 Pelephone; 07 Hot Mobile; 08 Golan
426: 01 Batelco; 02 Zain; 04 stc
427: 01 Ooredoo; 02 Vodafone
428: 88 Unitel; 91 Skytel; 98 G-Mobile; 99 Mobicom
429: 01 Nepal Telecom; 02 Ncell
432: 11 MCI; 20 RighTel; 35 Irancell
434: 04 Beeline; 05 Ucell; 07 Uzmobile
436: 01,02 Tcell; 03 MegaFon; 04 Babilon-M
437: 01 Beeline; 05 MegaCom; 09 O!
438: 02 TMCell
440: 10 NTT Docomo; 11 Rakuten; 20 SoftBank; 50,51,52,53,54 au
450: 05,11 SK Telecom; 06 LG U+; 02,04,08 KT
452: 01 MobiFone; 02 Vinaphone; 04 Viettel; 05 Vietnamobile; 07 Gmobile
454: 00,02,10,18 CSL; 03,04 3; 06,15,17 SmarTone; 12,13 China Mobile; 16,19,20 PCCW
456: 01 Cellcard; 02,05,06 Smart; 08 Metfone
460: 00,02,04,07,08 China Mobile; 01,06,09 China Unicom; 03,05,11 China Telecom; 15 China Broadnet
466: 01,02 FarEasTone; 89 T Star; 92 Chunghwa; 97 Taiwan Mobile
470: 01 Grameenphone; 02 Robi; 03 Banglalink; 04 Teletalk; 07 Airtel
502: 12,17 Maxis; 13,19 Celcom; 16 Digi; 18 U Mobile
505: 01 Telstra; 02 Optus; 03 Vodafone
510: 01,21 Indosat; 10 Telkomsel; 11 XL; 89 3
515: 02 Globe; 03,05 Smart; 66 DITO
520: 00 my; 01,03 AIS; 04 TrueMove H; 05,18 dtac
525: 01,02 Singtel; 03 M1; 05 StarHub
530: 01 One NZ; 05 Spark; 24 2degrees
602: 01 Orange; 02 Vodafone; 03 Etisalat; 04 WE
603: 01 Mobilis; 02 Djezzy; 03 Ooredoo
604: 00 Orange; 01 IAM; 02,05 Inwi
605: 01 Orange; 02 Tunisie Telecom; 03 Ooredoo
608: 01 Orange; 02 Free; 03 Expresso
610: 01 Malitel; 02 Orange
612: 02 Moov; 03 Orange; 05 MTN
613: 01 Onatel; 02 Orange; 03 Telecel
616: 02 Moov; 03 MTN
620: 01 MTN; 02 Telecel; 03,06 AT
621: 20 Airtel; 30 MTN; 50 Glo; 60 9mobile
624: 01 MTN; 02 Orange; 04 Nexttel
630: 01 Vodacom; 02 Airtel; 86,89 Orange; 90 Africell
631: 02 Unitel; 04 Movicel; 05 Africell
634: 01 Zain; 02 MTN; 07 Sudani
635: 10 MTN; 13,14 Airtel
636: 01 Ethio telecom; 02 Safaricom
639: 02 Safaricom; 03 Airtel; 07 Telkom
640: 02 Tigo; 04 Vodacom; 05 Airtel; 09 Halotel
641: 01 Airtel; 10 MTN; 11 UTel
643: 01 Tmcel; 03 Movitel; 04 Vodacom
645: 01 Airtel; 02 MTN; 03 Zamtel
648: 01 NetOne; 03 Telecel; 04 Econet
655: 01 Vodacom; 02 Telkom; 07 Cell C; 10,12 MTN
704: 01 Claro; 02 Tigo; 03 Claro
716: 06 Movistar; 10 Claro; 15 Bitel; 17 Entel
722: 07,070,010 Movistar; 310,320,330 Claro; 34,341 Personal
724: 02,03,04 TIM; 05 Claro; 06,10,11,23 Vivo; 16,30,31 Oi
730: 01,10 Entel; 02,07 Movistar; 03 Claro; 09 WOM
732: 101 Claro; 103,111 Tigo; 123 Movistar; 360 WOM
734: 02 Digitel; 04 Movistar; 06 Movilnet
736: 01 Viva; 02 Entel; 03 Tigo
740: 00 Movistar; 01 Claro; 02 CNT
748: 01 Antel; 07 Movistar; 10 Claro
"""

_PLMN = re.compile(r"([0-9]{3})[ -]?([0-9]*)")


def _countries() -> dict[str, str]:
    words = _MCC.split()
    table: dict[str, str] = {}
    for country, codes in zip(words[::2], words[1::2], strict=True):
        for code in codes.split(","):
            table.setdefault(code, country)
    # Shared codes belong to the country with most subscribers.
    return table | {"310": "US", "311": "US"}


def _operators() -> dict[str, str]:
    table: dict[str, str] = {}
    for line in _OPERATORS.strip().splitlines():
        mcc, _, networks = line.partition(": ")
        for network in networks.split("; "):
            codes, _, name = network.partition(" ")
            for mnc in codes.split(","):
                table[mcc + mnc] = name
    return table


_COUNTRY_BY_MCC = _countries()
_OPERATOR_BY_PLMN = _operators()


def operator_of(imsi_or_plmn: str) -> tuple[str, str]:
    """Return the operator and country that an IMSI or MCC+MNC belongs to (ITU-T E.212).

    Parameters
    ----------
    imsi_or_plmn : str
        An IMSI, or MCC and MNC with or without a blank or dash between them. The MNC may have two
        or three digits; the longer known one wins.

    Returns
    -------
    operator : str
        "" when the table has no such network.
    country : str
        ISO 3166-1 alpha-2; "" when the code is not a country's.

    Examples
    --------
    >>> operator_of("250990000000001"), operator_of("310-410"), operator_of("25077")
    (('Beeline', 'RU'), ('AT&T', 'US'), ('', 'RU'))
    """
    match = _PLMN.fullmatch(imsi_or_plmn.strip())
    if match is None:
        return "", ""
    mcc, rest = match.groups()
    longest_first = (mcc + rest[:3], mcc + rest[:2])
    names = (_OPERATOR_BY_PLMN[plmn] for plmn in longest_first if plmn in _OPERATOR_BY_PLMN)
    return next(names, ""), _COUNTRY_BY_MCC.get(mcc, "")
