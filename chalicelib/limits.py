"""Every bound of the product, named with its unit.

A bound that users may change is a field of ``wiring.Settings`` with its default here.
"""

from __future__ import annotations

from typing import Final

# Definitions
DEFINITION_BYTES_MAX: Final = 1024 * 1024
YAML_DEPTH_MAX: Final = 64
YAML_NODES_MAX: Final = 200_000
NAME_CHARACTERS_MAX: Final = 255
JOIN_NAME_CHARACTERS_MAX: Final = 208
TASKS_PER_WORKFLOW_MAX: Final = 10_000
INLINE_CHARACTERS_MAX: Final = 16 * 1024
FAULTS_SHOWN_MAX: Final = 100
# What one document may define: each takes two writes, and a document is one transaction.
DEFINITIONS_PER_DOCUMENT_MAX: Final = 48
# The compressed text of a definition stays in its item up to here; 48 of them fit into one transaction.
DEFINITION_BULK_BYTES_MAX: Final = 48 * 1024
DEFINITIONS_SCANNED_MAX: Final = 10_000
PLANS_CACHED_MAX: Final = 256
PLANS_CACHED_BYTES_MAX: Final = 8 * 1024 * 1024
ENVIRONMENT_NAME_CHARACTERS_MAX: Final = 200

# Values
FIELD_BYTES_MAX: Final = 1024 * 1024
STATE_INFO_CHARACTERS_MAX: Final = 65_500
INLINE_VALUE_BYTES_MAX: Final = 256
VALUE_DEPTH_MAX: Final = 200
PAYLOAD_THRESHOLD_BYTES: Final = 32 * 1024

# Identities: how many tasks one execution, and how many action executions one task, can have
# (20 bits each, see engine/identity.py)
TASKS_PER_EXECUTION_MAX: Final = 2**20 - 1
ACTIONS_PER_TASK_MAX: Final = 2**20 - 1

# Turns
TURN_RECORDS_MAX: Final = 90
TURN_DECISIONS_MAX: Final = 5_000
TURN_BYTES_MAX: Final = 3 * 1024 * 1024
TASKS_PER_PAGE_MAX: Final = 25
TAIL_TASKS_MAX: Final = 12
FRONTIER_INLINE_MAX: Final = 128
FRONT_PAGES_NEW_MAX: Final = 36
TAIL_BYTES_MAX: Final = 3 * 1024
PAGE_BYTES_MAX: Final = 64 * 1024
RECORD_BYTES_MAX: Final = 350 * 1024
LOST_RACES_BEFORE_PARKING: Final = 3
SUBWORKFLOW_DEPTH_MAX: Final = 100

# Time
DELAYED_MESSAGE_MAX_SEC: Final = 900
DELAY_MAX_SEC: Final = 366 * 24 * 3600
ALARM_INTERVAL_SEC: Final = 600
ALARM_INTERVAL_MAX_SEC: Final = 6 * 3600
EXECUTOR_TIMEOUT_SEC: Final = 120
EXECUTOR_LONG_TIMEOUT_SEC: Final = 900

# Triggers
TRIGGER_NAME_CHARACTERS_MAX: Final = 200
CRON_PATTERN_CHARACTERS_MAX: Final = 100
EVENT_SELECTOR_CHARACTERS_MAX: Final = 80
FIRST_EXECUTION_LEAD_MIN_SEC: Final = 60
# The clock door comes every minute: what falls due before it comes again is left to a delayed message.
CRON_LOOKAHEAD_SEC: Final = 60
# What is due again sooner than this after it was fired may not be seen by the clock door in time.
CRON_FOLLOW_UP_SEC: Final = 55
# How long after its due time a start that failed for reasons of ours is tried again.
CRON_RETRY_SEC: Final = 600
TRIGGERS_SCANNED_MAX: Final = 10_000
MEMBERS_PER_WORKFLOW_MAX: Final = 1000
# How many shared workflows a project can have accepted: every list of its workflows looks at all of them.
SHARES_ACCEPTED_MAX: Final = 1000

# API
LIST_ITEMS_MAX: Final = 1000
REQUEST_BYTES_MAX: Final = 10 * 1024 * 1024
RESPONSE_BYTES_MAX: Final = 6 * 1024 * 1024 - 64 * 1024
# One request looks at so many executions at most, be it to filter them or to sort them by something but their creation.
EXECUTIONS_SCANNED_MAX: Final = 10_000
# Lists of tasks and of action executions that name no execution look into the newest executions only.
EXECUTIONS_LOOKED_INTO_MAX: Final = 100
TASKS_GATHERED_MAX: Final = 10_000
EXECUTIONS_IN_TREE_MAX: Final = 10_000

# Expressions
EXPRESSION_CHARACTERS_MAX: Final = 64 * 1024
EVALUATION_TIME_MAX_SEC: Final = 5.0
# Counted, hence deterministic: a step is about a microsecond of work; an expression that needs more ends in an error.
EVALUATION_STEPS_MAX: Final = 5_000_000
EVALUATION_ITEMS_MAX: Final = 1_000_000
EVALUATION_BYTES_MAX: Final = 64 * 1024 * 1024
EVALUATION_INTEGER_BITS_MAX: Final = 65_536
EVALUATION_WIDTH_MAX: Final = 100_000
# Python refuses to write longer integers as text, so they cannot be stored.
RESULT_INTEGER_BITS_MAX: Final = 14_000
EXPRESSIONS_CACHED_MAX: Final = 512
EXPRESSION_CACHED_CHARACTERS_MAX: Final = 8 * 1024

# Actions
HTTP_TIMEOUT_SEC: Final = 60.0
HTTP_RESPONSE_BYTES_MAX: Final = 5 * 1024 * 1024
HTTP_REDIRECTS_MAX: Final = 30
HTTP_IDLE_CONNECTION_MAX_SEC: Final = 10.0
TEST_DICT_INLINE_ITEMS_MAX: Final = 1000
TEST_DICT_ITEMS_MAX: Final = 200_000
AWS_PAGES_MAX: Final = 1000
AWS_PAGED_ITEMS_MAX: Final = 10_000
AWS_STREAM_BYTES_MAX: Final = 5 * 1024 * 1024
AWS_STREAM_EVENTS_MAX: Final = 1000
AWS_CLIENTS_MAX: Final = 32
AWS_MODELS_CACHED_MAX: Final = 4
# How many generated actions one list looks at: reading all of them would take longer than a request may.
AWS_ACTIONS_LISTED_MAX: Final = 2000
ACTION_DESCRIPTION_CHARACTERS_MAX: Final = 1000

# DynamoDB's own
ITEM_BYTES_MAX: Final = 400 * 1024
TRANSACTION_WRITES_MAX: Final = 100
TRANSACTION_BYTES_MAX: Final = 4 * 1024 * 1024
PARTITION_KEY_BYTES_MAX: Final = 2048
SORT_KEY_BYTES_MAX: Final = 1024
