/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A segment that an earlier daemon had ready, in the hands of its successor: the same memory, number and attachments. Nobody is
 * told that it is ready, since it never ceased to be.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/log.h"
#include "daemon/segment.h"

#define IDS_APART	65536

/* What it gave since it wrote its last one down is below then: no id is given again while it stands somewhere. */
static void
revive_ids(struct segment *segment)
{
	uint32_t room = CONTROL_ID_MAX - segment->last_id;

	segment->ids_wrapped |= room < IDS_APART;
	segment->last_id = room < IDS_APART ? IDS_APART - room : segment->last_id + IDS_APART;
}

/*
 * What words name that the earlier daemon claimed: its mark is on the description that we have from it. Where that was lost, words
 * of its claims are strays, and ours are another. Without a mark it is a number of its own all the same: with that of a free word
 * a lock would be let go before its bytes are right.
 */
static void
revive_claim(struct segment *segment, uint32_t claim_id)
{
	struct locks *locks = segment->locks;
	uint32_t id = claim_id ? claim_id : attachment_next_id(segment);

	if (!locks->n_ours)
		return;
	locks->claim_id = id;
	if (backend_object_settle(&segment->holding.object) == 0 && kernelcount_mark(segment->holding.object.fd, id) == 0)
		return;
	log_write(MESSAGE_SEGMENT_REVIVED_LESS, &(struct log_about) { .segment = segment->definition->name }, "segment '%s': the kernel does not mark "
	    "its memory again: who waits for a lock that is being recovered learns of its end from nobody", segment->definition->name);
}

int
segment_revive(struct segment *segment, const struct segment_past *past, struct holding *holding)
{
	segment->holding = *holding;
	*holding = (struct holding) HOLDING_NULL;
	segment->holding.generation = segment->generation;
	segment->holding.huge_bytes = past->huge_bytes;
	segment->last_id = past->last_id;
	segment->ids_wrapped = past->ids_wrapped;
	revive_ids(segment);
	segment->was_attached = past->was_attached;
	segment->state = past->state;
	locks_place(segment->locks);
	revive_claim(segment, past->claim_id);
	segment->is_revived = true;
	if (past->state == PROTOCOL_READY)
		segment_admit_or_tell(segment);
	if (segment_file_new(segment, ""))
		log_write(MESSAGE_FILE_UNWRITTEN, &(struct log_about) { .segment = segment->definition->name }, "segment '%s' is not written back "
		    "any more: the daemon is out of memory", segment->definition->name);
	return segment_enter_past_row(segment, past);
}

/* What has to outlive us of it, into the box. What cannot be put there is lost if we are killed, and told. */
static int
box_descriptors(struct segment *segment)
{
	const struct holding *holding = &segment->holding;
	struct box *box = segment->host->box;
	struct box_label label = { .kind = BOX_SEGMENT_DATA, .id = segment->generation };
	int fds[BACKEND_KEPT_MAX];
	int r = backend_object_settle(&segment->holding.object);
	unsigned n = r ? 0 : holding->backend->kept(&holding->object, fds);

	if (n > 0)
		r = box_put(box, &label, fds[0]);
	label.kind = BOX_SEGMENT_MARK;
	if (r == 0 && n > 1)
		r = box_put(box, &label, fds[1]);
	label.kind = BOX_SEGMENT_CONTROL;
	if (r == 0 && holding->control)
		r = box_put(box, &label, holding->control->object.fd);
	return r;
}

void
segment_box(struct segment *segment)
{
	static struct log_limit limit = LOG_LIMIT(10);
	const struct log_about about = { .segment = segment->definition->name };
	int r;

	if (!segment->host->box || !segment->holding.backend || !segment->holding.backend->kept)
		return;
	r = box_descriptors(segment);
	segment->is_boxed = true;
	/* Where there is no store, that was told once. */
	if (r && r != -ENOENT && log_allowed(&limit))
		log_write(MESSAGE_UNSAVED, &about, "segment '%s' does not outlive this process, if it is killed before the next attempt: "
		    "its descriptors cannot be kept by the service manager: %s", segment->definition->name, strerror(-r));
}

void
segment_unbox(struct segment *segment)
{
	if (!segment->is_boxed)
		return;
	segment->is_boxed = false;
	/* A descriptor in the box keeps the memory, whoever else has let go. */
	box_dead(segment->host->box, true);
}

static void
revive_done(struct segment *segment, int r, const char *text)
{
	static struct log_limit limit = LOG_LIMIT(200);
	char reason[FINDINGS_TEXT_SIZE + 64];

	if (r == 0 && !*text)
		return;
	(void)snprintf(reason, sizeof(reason), "since segmentd was started anew: %s", text);
	segment_set_reason(segment, reason);
	segment_rewrite_texts(segment);
	if (!log_allowed(&limit))
		return;
	log_write(MESSAGE_SEGMENT_REVIVED_LESS, &(struct log_about) { .segment = segment->definition->name },
	    "segment '%s' is as it was, but for this, %s", segment->definition->name, reason);
}

static void
segment_on_revived(struct provision *provision, int r)
{
	struct segment *segment = provision->owner;
	char text[FINDINGS_TEXT_SIZE];

	memcpy(text, provision->text, sizeof(text));
	segment->growth = provision_free(provision);
	revive_done(segment, r, text);
	segment_grow_on(segment);
	if (!segment->growth && !segment_n_attached(segment))
		segment_rest(segment);
}

static void
segment_on_revival(struct provision *provision)
{
}

void
segment_revive_on(struct segment *segment)
{
	char text[FINDINGS_TEXT_SIZE] = "";
	int r;

	/* Also of one that drains: who has it is owed what they were given. */
	if (!segment->is_revived || segment->growth || (segment->state != PROTOCOL_READY && segment->state != PROTOCOL_DRAINING))
		return;
	segment->is_revived = false;
	if (!provision_must_revive(segment->definition, &segment->holding))
		return;
	r = provision_revive(segment->host->provisioner, segment->definition, &segment->holding, segment_on_revived,
	    segment_on_revival, segment, &segment->growth, text, sizeof(text));
	if (r)
		revive_done(segment, r, text);
}

void
segment_resume(struct segment *segment)
{
	const struct attachment *attachment;
	uint32_t last_id = segment->last_id;

	/* Its row is as old as its last change may be: those who came since have had ids beyond it. */
	TAILQ_FOREACH(attachment, &segment->attachments, segment_entry)
		segment->last_id = (uint32_t)max_u64(segment->last_id, attachment->id);
	if (segment->last_id != last_id) {
		revive_ids(segment);
		segment_rewrite_row(segment, segment->state);
	}
	segment_recover_strays(segment);
	if (segment_n_attached(segment) && segment_watch(segment) == 0)
		segment_look_soon(segment);
	segment_rest(segment);
}
