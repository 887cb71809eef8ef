/* holes.h - the free memory between the objects of the app, which a copy of the process should not write to.
 *
 * What an import drops lay between what it keeps, so its memory is full of holes. A copy that puts its
 * objects there makes a page its own for nearly every one of them. When the holes are taken, they lie side by
 * side in few pages. */
#ifndef PYWORKER_HOLES_H
#define PYWORKER_HOLES_H

/* Takes the holes for good, as far as they are found: those between CPython's small objects and those of
 * glibc's malloc. With another allocator there is nothing to find. */
void holes_fill(void);

#endif
