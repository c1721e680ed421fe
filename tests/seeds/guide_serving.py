CASES = {}
DOCUMENT = "action-development-guide"
