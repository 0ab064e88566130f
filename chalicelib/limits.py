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
CODE_SOURCE_BYTES_MAX: Final = 256 * 1024
# How many code sources are kept read (their classes' signatures), and how many loaded (their modules).
CODE_SOURCES_READ_MAX: Final = 64
CODE_SOURCES_LOADED_MAX: Final = 16
# What one list of actions looks at: their signatures are read from their sources.
DYNAMIC_ACTIONS_LISTED_MAX: Final = 1000

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
HISTORY_TAIL_BYTES_MAX: Final = 600
HISTORY_PAGE_BYTES_MIN: Final = 400
HISTORY_ENTRIES_DEFAULT: Final = 100
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
# Nobody makes one call again for longer: the claim of a worker outside Lambda does not last longer either.
PATIENCE_MAX_SEC: Final = 100
# SQS hides a message for 12 hours at most, however often it is asked to.
WORKER_ACTION_MAX_SEC: Final = 11 * 3600
WORKER_LEASE_SEC: Final = 120
WORKER_HEARTBEAT_SEC: Final = 30
# Actions that are asked again: how soon at the earliest, and what they may note between two askings.
POLL_DELAY_MIN_SEC: Final = 1
POLL_MEMO_BYTES_MAX: Final = 4096
# Messages about what is released in waves are held until all of it is, up to so many.
MESSAGES_HELD_MAX: Final = 1_000
# A wave that lost its race too often is tried again after so long.
WAVE_AGAIN_SEC: Final = 1
# How long an executor carries on without looking into its queue again, where others wait: that of a message which lay
# in the queue for so long, and that of an item.
QUEUE_BUSY_AFTER_SEC: Final = 1.0
CARRIED_WHILE_OTHERS_WAIT_MAX_SEC: Final = 0.25
CARRIED_ITEMS_MAX_SEC: Final = 2.0
# A message that was received so often goes to the dead letters.
MESSAGE_RECEIVES_MAX: Final = 5

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
CRON_JITTER_MAX_SEC: Final = 24 * 3600
CRON_CATCH_UP_MAX_SEC: Final = 7 * 24 * 3600
CRON_DEADLINE_MAX_SEC: Final = 30 * 24 * 3600
# Due times that wait for the run before them, and runs whose end is watched, per trigger: both lie in its record.
CRON_QUEUED_MAX: Final = 100
CRON_WATCHED_MAX: Final = 50
# How soon after a queued run was started it is looked at whether the next one may follow.
CRON_QUEUE_LOOK_SEC: Final = 10
# After so many refused starts in a row a cron-trigger pauses.
CRON_FAILURES_MAX: Final = 20
CRON_PREVIEW_MAX: Final = 100
CRON_BACKFILL_MAX: Final = 500
TIME_ZONES_CACHED_MAX: Final = 64
TRIGGERS_SCANNED_MAX: Final = 10_000
# How long a signed URL works, if nobody says; and at most.
WEBHOOK_LIFE_SEC: Final = 30 * 24 * 3600
WEBHOOK_LIFE_MAX_SEC: Final = 366 * 24 * 3600
WEBHOOK_CALLS_PER_MINUTE_MAX: Final = 60
WEBHOOK_BODY_BYTES_MAX: Final = 256 * 1024
IDEMPOTENCY_KEY_CHARACTERS_MAX: Final = 255
MEMBERS_PER_WORKFLOW_MAX: Final = 1000
# How many shared workflows a project can have accepted: every list of its workflows looks at all of them.
SHARES_ACCEPTED_MAX: Final = 1000

# API
LIST_ITEMS_MAX: Final = 1000
# For how long a process goes by the maintenance status that it has read, and how many executions one message sees to.
MAINTENANCE_CACHED_SEC: Final = 5
MAINTENANCE_PAGE_EXECUTIONS: Final = 20
REQUEST_BYTES_MAX: Final = 10 * 1024 * 1024
# What other processes may send to the emulated cloud of a local service, such as objects for a bucket.
AWS_DOOR_REQUEST_BYTES_MAX: Final = 64 * 1024 * 1024
# What one call of a Lambda function may be given, and may give back: JSON, the body of the request a string in it.
LAMBDA_PAYLOAD_BYTES_MAX: Final = 6 * 1024 * 1024
RESPONSE_BYTES_MAX: Final = LAMBDA_PAYLOAD_BYTES_MAX - 64 * 1024
# How long a client has to fetch an answer that is larger.
ANSWER_LIFETIME_SEC: Final = 300
# One request looks at so many executions at most, be it to filter them or to sort them by something but their creation.
EXECUTIONS_SCANNED_MAX: Final = 10_000
# So many executions, and fewer, are sorted by whatever is asked for; of more, the indexes' own orders are taken.
EXECUTIONS_SORTED_MAX: Final = 1000
# Lists of tasks and of action executions that name no execution look into the newest executions only.
EXECUTIONS_LOOKED_INTO_MAX: Final = 100
TASKS_GATHERED_MAX: Final = 10_000
EXECUTIONS_IN_TREE_MAX: Final = 10_000

# Authentication
TOKEN_CHARACTERS_MAX: Final = 8 * 1024
TOKEN_LIFETIME_SEC: Final = 3600
TOKEN_LIFETIME_MAX_SEC: Final = 24 * 3600
TOKEN_LEEWAY_SEC: Final = 30
TOKEN_SECRET_CHARACTERS_MIN: Final = 32
OIDC_ISSUERS_MAX: Final = 32
ROLES_MAX: Final = 64
PROJECT_CHARACTERS_MAX: Final = 80
# The keys of an issuer are believed so long; while it cannot be reached, longer.
KEY_SET_CACHED_SEC: Final = 600
KEY_SET_STALE_SEC: Final = 3600
# An issuer is asked again no sooner, whatever keys the tokens name that come meanwhile.
KEY_SET_PAUSE_SEC: Final = 30
KEY_SET_FETCHES_PER_SEC: Final = 1
KEY_SET_FETCHES_BURST: Final = 10
KEY_SETS_CACHED_MAX: Final = 64
KEYS_PER_SET_MAX: Final = 64
KEY_SET_BYTES_MAX: Final = 256 * 1024
KEY_SET_TIMEOUT_SEC: Final = 5.0
API_KEY_CACHED_SEC: Final = 30
API_KEYS_CACHED_MAX: Final = 1024
API_KEYS_LISTED_MAX: Final = 1000
API_KEY_DESCRIPTION_CHARACTERS_MAX: Final = 255
API_KEY_SECRET_CHARACTERS_MAX: Final = 256
API_KEY_DAYS_MAX: Final = 3650
# Failed logins of one key from one address: so many at once, then one every so often.
LOGIN_FAILURES_BURST: Final = 10
LOGIN_FAILURES_PER_SEC: Final = 0.1
RATE_MAX: Final = 100_000
RATE_BUCKETS_MAX: Final = 10_000
RATE_LEASE_SEC: Final = 2
RATE_LEASE_TOKENS_MAX: Final = 32

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
# Regular expressions that may take long, compiled once more.
PATTERNS_CACHED_MAX: Final = 64

# Actions
HTTP_TIMEOUT_SEC: Final = 60.0
HTTP_RESPONSE_BYTES_MAX: Final = 5 * 1024 * 1024
HTTP_REDIRECTS_MAX: Final = 30
HTTP_IDLE_CONNECTION_MAX_SEC: Final = 10.0
# More values than this do not fit into a result anyway; it also ends the look at one that holds itself.
RESULT_VALUES_CHECKED_MAX: Final = 1_000_000
SECRET_BYTES_MAX: Final = 64 * 1024
SECRET_CACHE_SEC: Final = 60.0
SECRETS_CACHED_MAX: Final = 100
SECRETS_PER_INPUT_MAX: Final = 20
SECRET_HIDDEN_CHARACTERS_MIN: Final = 4
EMAIL_RECIPIENTS_MAX: Final = 100
EMAIL_SERVER_SILENCE_MAX_SEC: Final = 30.0
SSH_HOSTS_MAX: Final = 100
SSH_CONNECT_TIMEOUT_SEC: Final = 30.0
SSH_OUTPUT_BYTES_MAX: Final = 5 * 1024 * 1024
JAVASCRIPT_TIME_MAX_SEC: Final = 30.0
JAVASCRIPT_MEMORY_BYTES_MAX: Final = 64 * 1024 * 1024
JAVASCRIPT_RESULT_BYTES_MAX: Final = 5 * 1024 * 1024
TEST_DICT_INLINE_ITEMS_MAX: Final = 1000
TEST_DICT_ITEMS_MAX: Final = 200_000
AWS_PAGES_MAX: Final = 1000
AWS_PAGED_ITEMS_MAX: Final = 10_000
AWS_STREAM_BYTES_MAX: Final = 5 * 1024 * 1024
AWS_STREAM_EVENTS_MAX: Final = 1000
AWS_CLIENTS_MAX: Final = 32
AWS_SUMMARIES_CACHED_MAX: Final = 4096
AWS_WAITER_ATTEMPTS_MAX: Final = 10_000
AWS_SSM_HOSTS_MAX: Final = 500
AWS_ROLES_CACHED_MAX: Final = 256
AWS_MODELS_CACHED_MAX: Final = 4
# Iterators of OpenStack's clients are read to their end, up to here.
OPENSTACK_ITEMS_MAX: Final = 10_000
# How long one call of a client may take, requests to log in and to find the service among it, where the time that is
# left for the action is longer or unknown.
OPENSTACK_CALL_MAX_SEC: Final = 300.0
OPENSTACK_LOGINS_CACHED_MAX: Final = 64
OPENSTACK_ENDPOINTS_CACHED_MAX: Final = 256
# How many generated actions one list looks at: reading all of them would take longer than a request may.
AWS_ACTIONS_LISTED_MAX: Final = 2000
ACTION_DESCRIPTION_CHARACTERS_MAX: Final = 1000

# Notifications
PUBLISHERS_MAX: Final = 20
NOTIFIER_TIMEOUT_SEC: Final = 60
WEBHOOK_CONNECT_TIMEOUT_SEC: Final = 3.0
WEBHOOK_READ_TIMEOUT_SEC: Final = 10.0
# Telling a publisher of one event takes no longer, whatever the other side does.
TELLING_MAX_SEC: Final = 15.0
# One event is tried so often, with growing pauses (41 minutes in all); then it is given up.
NOTICE_TRIES_MAX: Final = 8
NOTICE_PAUSE_SEC: Final = 2
NOTICE_PAUSE_MAX_SEC: Final = 900

# Expiration
EXPIRATION_STEP_SEC: Final = 30.0
EXPIRATION_BATCH_MAX: Final = 1000

# Operations
LOG_TEXT_CHARACTERS_MAX: Final = 2000
LOG_FRAMES_MAX: Final = 25
# CloudWatch takes so many values of a metric in one line.
METRIC_VALUES_PER_LINE_MAX: Final = 100
METRIC_VALUES_MAX: Final = 1000
# How long after its moment something that is due counts as stuck; the clock looks every minute.
DOCTOR_OVERDUE_SEC: Final = 600
DOCTOR_EXECUTIONS_MAX: Final = 1000
DOCTOR_PAYLOADS_MAX: Final = 1000
DOCTOR_SAMPLES_MAX: Final = 10
REDRIVE_MESSAGES_MAX: Final = 10_000

# DynamoDB's own
ITEM_BYTES_MAX: Final = 400 * 1024
TRANSACTION_WRITES_MAX: Final = 100
TRANSACTION_BYTES_MAX: Final = 4 * 1024 * 1024
PARTITION_KEY_BYTES_MAX: Final = 2048
SORT_KEY_BYTES_MAX: Final = 1024
