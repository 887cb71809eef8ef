/* list.h - an intrusive, circular, doubly linked list. A node that is in no list has next == NULL. */
#ifndef LEANGATE_LIST_H
#define LEANGATE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct list {
    struct list *next;
    struct list *prev;
};

/* The object that holds `node` as its member. */
#define LIST_OBJECT(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* Safe against removal of `node` by the body; `after` is a second struct list * of the caller's. */
#define LIST_EACH(node, after, head)                                                                         \
    for ((node) = (head)->next, (after) = (node)->next; (node) != (head);                                    \
         (node) = (after), (after) = (node)->next)

static inline void list_init(struct list *head)
{
    head->next = head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_linked(const struct list *node)
{
    return node->next != NULL;
}

static inline void list_append(struct list *head, struct list *node)
{
    node->next = head;
    node->prev = head->prev;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_prepend(struct list *head, struct list *node)
{
    list_append(head->next, node);
}

/* How many nodes it has; they are walked. */
static inline uint32_t list_count(const struct list *head)
{
    uint32_t n = 0;
    for (const struct list *node = head->next; node != head; node = node->next)
        n++;
    return n;
}

/* Takes `node` out of whatever list it is in; may be called for one that is in none. */
static inline void list_remove(struct list *node)
{
    if (node->next == NULL)
        return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
}

#endif
