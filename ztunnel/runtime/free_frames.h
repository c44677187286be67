#pragma once

namespace weft::runtime {

// Frees the coroutine frames that this thread keeps for later (frame_pool.h): after many
// connections they lie scattered, and every one keeps a page from going back to the system.
void drop_free_frames() noexcept;

}  // namespace weft::runtime
