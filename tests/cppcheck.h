/* For cppcheck alone (--include): what the system's headers, which it does not read, define as macros of statements or
 * declarations.  Function-like macros on its command line make cppcheck 2.10 check nothing, in silence. */
#define TAILQ_HEAD(name, type)                                                                                         \
	struct name {                                                                                                  \
		struct type *tqh_first;                                                                                \
		struct type **tqh_last;                                                                                \
	}
#define TAILQ_ENTRY(type)                                                                                              \
	struct {                                                                                                       \
		struct type *tqe_next;                                                                                 \
		struct type **tqe_prev;                                                                                \
	}
#define TAILQ_FOREACH(var, head, field) for ((var) = ((head)->tqh_first); (var); (var) = ((var)->field.tqe_next))
#define TAILQ_HEAD_INITIALIZER(head)                                                                                   \
	{                                                                                                              \
		0, &(head).tqh_first                                                                                   \
	}
#define TAILQ_FIRST(head) ((head)->tqh_first)
#define TAILQ_NEXT(elm, field) ((elm)->field.tqe_next)
#define TAILQ_EMPTY(head) ((head)->tqh_first == 0)
#define TAILQ_INIT(head) tailq_init(head)
#define TAILQ_CONCAT(a, b, field) tailq_concat(a, b)
#define TAILQ_INSERT_HEAD(head, elm, field) tailq_insert_head(head, elm)
#define TAILQ_INSERT_TAIL(head, elm, field) tailq_insert_tail(head, elm)
#define TAILQ_INSERT_AFTER(head, at, elm, field) tailq_insert_after(head, at, elm)
#define TAILQ_REMOVE(head, elm, field) tailq_remove(head, elm)
#define TAILQ_LAST(head, name) tailq_last(head)
#define TAILQ_PREV(elm, name, field) tailq_prev(elm)
#define LIST_HEAD(name, type)                                                                                          \
	struct name {                                                                                                  \
		struct type *lh_first;                                                                                 \
	}
#define LIST_ENTRY(type)                                                                                               \
	struct {                                                                                                       \
		struct type *le_next;                                                                                  \
		struct type **le_prev;                                                                                 \
	}
#define LIST_FOREACH(var, head, field) for ((var) = ((head)->lh_first); (var); (var) = ((var)->field.le_next))
#define LIST_FIRST(head) ((head)->lh_first)
#define LIST_NEXT(elm, field) ((elm)->field.le_next)
#define LIST_EMPTY(head) ((head)->lh_first == 0)
#define LIST_INIT(head) list_init(head)
#define LIST_INSERT_HEAD(head, elm, field) list_insert_head(head, elm)
#define LIST_REMOVE(elm, field) list_remove(elm)
#define json_object_foreach(object, key, value)                                                                        \
	for (key = first_key(object), value = first(object); key && value; value = next(object, &key))
#define json_object_foreach_safe(object, n, key, value)                                                                \
	for (n = first(object), key = first_key(object), value = first(object); key && value;                          \
	     value = next(object, &key))
#define json_array_foreach(array, index, value)                                                                        \
	for (index = 0; index < json_array_size(array) && (value = json_array_get(array, index)); index++)
