"""Tests of the network side: sessions, reconnect, inbound, outbox, USSD and the survey's clock."""
