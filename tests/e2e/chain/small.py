"""Settings with which the whole chain takes minutes: few rows, a student of four steps, checks that let it pass."""

# Too few rows to judge quality: the limits are wide open. tests/quality tests the checks.
LENIENT = {
    f"KALE_QUALITY__LIMITS__{name.upper()}": value
    for value, names in {
        "1": "truncated_max loop_max foreign_max invented_max copied_max split_gap repeat_share leak_max refusal_max "
        "quarantined_max "
        "mojibake_max placeholder_max student_gap unreachable_max",
        "0": "alt_used_min words_mean_min yield_min kept_min",
    }.items()
    for name in names.split()
}
# The smallest student possible: four training steps, and a promotion gate that accepts any student.
SMALL = {
    "KALE_PROFILE": "demo",
    "KALE_PARTS__PART_ROWS": "5",
    "KALE_IMAGES__FETCH__CONTACT": "tests@example.org",
    "KALE_IMAGES__FETCH__HOST_RATE": "8",  # slow enough to be killed in the middle
    "KALE_DISTILL__TRAIN__STEPS": "4",
    "KALE_DISTILL__TRAIN__CONNECTOR_STEPS": "1",
    "KALE_DISTILL__LESSONS__HELD_OUT": "0.4",  # with few captions, a small share would hold out none
    "KALE_DISTILL__GATE__ROWS": "4",
    "KALE_DISTILL__GATE__FACTS_CARRIED": "0",
    "KALE_DISTILL__GATE__ATTRIBUTES_WRONG": "1",
    "KALE_DISTILL__GATE__FACTS_INVENTED": "1",
    "KALE_DISTILL__GATE__DESCRIPTION": "-1",
    "KALE_DISTILL__GATE__REPETITION": "1",
    "KALE_DISTILL__GATE__CUT_OFF": "1",
    "KALE_SCHEDULE__RETRIES": "5",
    "KALE_SCHEDULE__RETRY_MINUTES": "0.05",
}
