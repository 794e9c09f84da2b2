"""What the command line says of stages, deep versions and earlier classes."""

from service.cli.display import deep

EVIDENCE = {"merit": "label_accuracy", "gain": 0.0123, "interval": [0.001, 0.02]}


def test_a_job_names_its_next_stage_or_why_there_is_none():
    (line,) = deep.of_job({"deep": {"stage": "shallow", "next": "job_2", "why": "the data suffice"}, "report": None})
    assert "espalier jobs show job_2" in line
    (line,) = deep.of_job({"deep": {"stage": "shallow", "next": None, "why": "a [budget] was asked for"}, "report": {}})
    assert "no next stage: a \\[budget] was asked for" in line
    made = {"deep": {"cut": {"name": "blocks.4", "share": 0.37}}}
    assert "blocks.4 on, 37%" in list(deep.of_job({"deep": {"stage": "deep", "why": "x"}, "report": made}))[1]
    assert list(deep.of_job({"deep": None, "report": {}})) == []


def test_a_report_says_what_training_deeper_brought():
    losses = {"meaning": "Not learned out."}
    found = list(deep.of_report({"cut": {"name": "blocks.4"}, "evidence": EVIDENCE, "losses": losses}))
    assert "from blocks.4 on: +0.0123 label accuracy (95 % +0.0010 to +0.0200)" in found[0]
    assert "Not learned out." in found[1]
    assert "not kept" in next(deep.of_report({"evidence": {"passed": False}, "losses": losses}))
    assert list(deep.of_report(None)) == [] == list(deep.of_comparison(None))


def test_a_comparison_says_what_became_of_earlier_classes():
    assert list(deep.of_comparison({"meaning": "accuracy was 0.9"})) == ["accuracy was 0.9"]
