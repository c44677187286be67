// The io_uring backend. Operations become submissions, one system call a turn hands them to the
// kernel and waits for completions.
//
// - Receiving takes its buffer from a ring of storages that the kernel holds (a "provided buffer
//   ring"), only when bytes have come: a thousand idle connections hold no buffer at all. The ring
//   is filled up again with every completion, so running dry (-ENOBUFS) is answered by trying
//   again.
// - Everything is single-shot. Multishot accept gave one worker every connection, and multishot
//   receive has to be cancelled for back-pressure.
// - Operations are cancelled by their own address, not by descriptor: submissions are taken in
//   order, so a cancellation can only meet what was begun before it, even where the descriptor has
//   been closed meanwhile and its number is another socket's.
// - The ring is made disabled and enabled by run(): the kernel ties it to the thread that enables
//   it. What is begun before that waits in a list.

#include "ztunnel/runtime/uring.h"

#include "ztunnel/base/check.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/runtime/pending.h"

#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace weft::runtime {
namespace {

constexpr unsigned kSubmissions = 512;   // more in a turn cost one more system call
constexpr unsigned kCompletions = 4096;  // beyond that the kernel keeps them in a list of its own
constexpr uint32_t kLentBuffers = 32;    // 2 MiB: what stays in a core's cache; a power of two
constexpr uint16_t kBufferGroup = 0;
constexpr int kImmediatePerTurn = 16;  // receives without waiting, as the epoll backend's

// user_data of what is not an Operation.
constexpr uint64_t kNobody = 0;
constexpr uint64_t kWake = 1;

// The kernel's end of the receive buffers: storages of the pool, lent until bytes come.
class BufferRing {
 public:
  explicit BufferRing(BufferPool& pool) : pool_(pool) {}
  BufferRing(const BufferRing&) = delete;
  BufferRing& operator=(const BufferRing&) = delete;
  ~BufferRing();

  int make(io_uring& ring);  // 0 or -errno
  // The storage that a completion used becomes a Buffer (or is lent again where nothing came).
  Buffer take(uint32_t id, int bytes);

 private:
  void lend(uint32_t id);

  static constexpr size_t kMapBytes = kLentBuffers * sizeof(io_uring_buf);

  BufferPool& pool_;
  io_uring_buf_ring* entries_ = nullptr;
  std::array<detail::BufferStorage*, kLentBuffers> lent_{};
};

int BufferRing::make(io_uring& ring) {
  void* memory =
      mmap(nullptr, kMapBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return -errno;
  entries_ = static_cast<io_uring_buf_ring*>(memory);
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<uint64_t>(memory);
  registration.ring_entries = kLentBuffers;
  registration.bgid = kBufferGroup;
  const int result = io_uring_register_buf_ring(&ring, &registration, 0);
  if (result != 0) return result;
  io_uring_buf_ring_init(entries_);
  for (uint32_t id = 0; id < kLentBuffers; ++id) {
    lent_[id] = pool_.take();
    lend(id);
  }
  return 0;
}

BufferRing::~BufferRing() {
  for (detail::BufferStorage* storage : lent_) {
    if (storage != nullptr) pool_.give_back(storage);
  }
  if (entries_ != nullptr) munmap(entries_, kMapBytes);
}

void BufferRing::lend(uint32_t id) {
  io_uring_buf_ring_add(entries_, BufferPool::payload_of(lent_[id]), BufferPool::kBufferBytes,
                        static_cast<uint16_t>(id), io_uring_buf_ring_mask(kLentBuffers), 0);
  io_uring_buf_ring_advance(entries_, 1);
}

Buffer BufferRing::take(uint32_t id, int bytes) {
  CHECK(id < kLentBuffers);
  Buffer buffer;
  if (bytes > 0) {
    buffer = pool_.adopt(lent_[id], static_cast<size_t>(bytes));
    lent_[id] = pool_.take();
  }
  lend(id);
  return buffer;
}

// Closes the ring.
struct Ring {
  io_uring ring{};
  bool made = false;
  ~Ring() {
    if (made) io_uring_queue_exit(&ring);
  }
};

class UringLoop final : public Loop {
 public:
  explicit UringLoop(Fd wake) : lent_(buffers()), wake_(std::move(wake)) {}

  Result<void> make();
  void cancel(int fd) override;
  Backend backend() const override { return Backend::kUring; }

 private:
  bool begin(Operation& operation) override;
  void prepare() override;
  void finish() override;
  void turn(std::chrono::milliseconds timeout) override;
  void wake() override { eventfd_write(wake_.get(), 1); }

  io_uring_sqe* submission();  // null: none free, or not enabled yet
  bool receive_now(Operation& operation);
  bool submit_operation(Operation& operation);
  bool submit_cancel(Operation& operation);
  void submit_wake_poll();
  void submit_waiting();
  void fill(io_uring_sqe& sqe, Operation& operation);
  void on_completion(const io_uring_cqe& completion);
  bool is_to_be_retried(Operation& operation, int result);

  BufferRing lent_;  // outlives the ring, which may write to it
  Ring ring_;
  Fd wake_;
  PendingTable pending_;
  OperationList ready_;
  OperationList waiting_;                        // for a free submission
  std::vector<Operation*> to_cancel_;            // likewise, and before the others
  std::array<msghdr, kSubmissions> messages_{};  // one for each submission; read when it is taken
  int immediate_left_ = kImmediatePerTurn;
  bool enabled_ = false;
  bool wake_armed_ = false;
};

Result<void> UringLoop::make() {
  // 6.1 knows the first set. DEFER_TASKRUN: completions are worked on when we ask for them, not in
  // the middle of our code.
  constexpr std::array<unsigned, 2> kFlagSets{
      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL,
      IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL};
  int result = -EINVAL;
  for (size_t i = 0; i < kFlagSets.size() && result == -EINVAL; ++i) {
    io_uring_params parameters{};
    parameters.flags = kFlagSets[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE;
    parameters.cq_entries = kCompletions;
    result = io_uring_queue_init_params(kSubmissions, &ring_.ring, &parameters);
  }
  if (result != 0) {
    return fail(Code::kUnsupported,
                errno_error(-result, "the kernel refuses io_uring").to_string());
  }
  ring_.made = true;
  constexpr unsigned kNeeded =
      IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG;
  if ((ring_.ring.features & kNeeded) != kNeeded) {
    return fail(Code::kUnsupported, "this kernel's io_uring is too old");
  }
  result = lent_.make(ring_.ring);
  if (result != 0) {
    return fail(Code::kUnsupported,
                errno_error(-result, "io_uring: registering a ring of buffers").to_string());
  }
  return {};
}

void UringLoop::prepare() {
  if (!enabled_) {
    // By hand: liburing 2.3 declares io_uring_enable_rings() but does not export it.
    CHECK(syscall(__NR_io_uring_register, ring_.ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr,
                  0) == 0);
    enabled_ = true;
  }
  // Saves the kernel a look-up of the ring's descriptor each turn; goes on without where refused.
  // It is this thread's, so finish() takes it back.
  io_uring_register_ring_fd(&ring_.ring);
  if (!wake_armed_) submit_wake_poll();
}

void UringLoop::finish() { io_uring_unregister_ring_fd(&ring_.ring); }

io_uring_sqe* UringLoop::submission() {
  if (!enabled_) return nullptr;
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_.ring);
  if (sqe == nullptr && io_uring_submit(&ring_.ring) > 0) sqe = io_uring_get_sqe(&ring_.ring);
  return sqe;
}

// A connection in bulk has its next bytes there already: read into the buffer that was used last,
// which is in cache, where the lent ones come round in turn.
bool UringLoop::receive_now(Operation& operation) {
  if (!operation.likely_ready || immediate_left_ == 0) return false;
  --immediate_left_;
  Buffer buffer = buffers().get();
  const std::span<uint8_t> space = buffer.tail();
  const ssize_t received = recv(operation.fd, space.data(), space.size(), MSG_DONTWAIT);
  if (received < 0) return false;  // why is told by the operation itself
  buffer.extend(static_cast<size_t>(received));
  *operation.into = received > 0 ? std::move(buffer) : Buffer();
  operation.result = static_cast<int>(received);
  return true;
}

bool UringLoop::begin(Operation& operation) {
  if (operation.kind == Operation::Kind::kReceive && receive_now(operation)) return true;
  pending_.add(operation);
  const bool must_queue = !waiting_.empty() || !to_cancel_.empty();
  if (must_queue || !submit_operation(operation)) waiting_.push(operation);
  return false;
}

bool UringLoop::submit_operation(Operation& operation) {
  io_uring_sqe* sqe = submission();
  if (sqe == nullptr) return false;
  fill(*sqe, operation);
  io_uring_sqe_set_data(sqe, &operation);
  return true;
}

void UringLoop::fill(io_uring_sqe& sqe, Operation& operation) {
  const int fd = operation.fd;
  if (operation.poll_events != 0) {
    io_uring_prep_poll_add(&sqe, fd, operation.poll_events);
    return;
  }
  switch (operation.kind) {
    case Operation::Kind::kAccept:
      io_uring_prep_accept(&sqe, fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      break;
    case Operation::Kind::kConnect:
      io_uring_prep_connect(&sqe, fd, reinterpret_cast<const sockaddr*>(&operation.address),
                            operation.address_length);
      break;
    case Operation::Kind::kReceive:
      io_uring_prep_recv(&sqe, fd, nullptr, BufferPool::kBufferBytes, 0);
      sqe.flags |= IOSQE_BUFFER_SELECT;
      sqe.buf_group = kBufferGroup;
      break;
    case Operation::Kind::kSend: {
      if (operation.pieces.size() == 1) {
        const iovec& piece = operation.pieces.front();
        io_uring_prep_send(&sqe, fd, piece.iov_base, piece.iov_len, MSG_NOSIGNAL);
        break;
      }
      msghdr& message = messages_[static_cast<size_t>(&sqe - ring_.ring.sq.sqes)];
      message = {};
      message.msg_iov = const_cast<iovec*>(operation.pieces.data());
      message.msg_iovlen = operation.pieces.size();
      io_uring_prep_sendmsg(&sqe, fd, &message, MSG_NOSIGNAL);
      break;
    }
    case Operation::Kind::kPoll:
      io_uring_prep_poll_add(&sqe, fd, operation.poll_events);
      break;
  }
}

bool UringLoop::submit_cancel(Operation& operation) {
  io_uring_sqe* sqe = submission();
  if (sqe == nullptr) return false;
  io_uring_prep_cancel(sqe, &operation, 0);
  io_uring_sqe_set_data64(sqe, kNobody);
  return true;
}

void UringLoop::cancel(int fd) {
  const PendingTable::Slot slot = pending_.of(fd);
  for (Operation* operation : {slot.in, slot.out == slot.in ? nullptr : slot.out}) {
    if (operation == nullptr || std::exchange(operation->cancelled, true)) continue;
    if (!to_cancel_.empty() || !submit_cancel(*operation)) to_cancel_.push_back(operation);
  }
}

void UringLoop::submit_wake_poll() {
  io_uring_sqe* sqe = submission();
  wake_armed_ = sqe != nullptr;
  if (!wake_armed_) return;
  io_uring_prep_poll_add(sqe, wake_.get(), POLLIN);
  io_uring_sqe_set_data64(sqe, kWake);
}

void UringLoop::submit_waiting() {
  if (!wake_armed_) submit_wake_poll();
  while (!to_cancel_.empty() && submit_cancel(*to_cancel_.back())) to_cancel_.pop_back();
  OperationList still_waiting = std::exchange(waiting_, {});
  while (!still_waiting.empty()) {
    Operation& operation = still_waiting.pop();
    if (operation.cancelled) {
      operation.result = -ECANCELED;
      pending_.remove(operation);
      ready_.push(operation);
    } else if (!waiting_.empty() || !submit_operation(operation)) {
      waiting_.push(operation);
    }
  }
}

// What is no answer yet: none of the lent buffers was free, or the kernel does not wait itself.
bool UringLoop::is_to_be_retried(Operation& operation, int result) {
  const bool polled = operation.kind != Operation::Kind::kPoll && operation.poll_events != 0;
  if (polled && result >= 0) {
    operation.poll_events = 0;
    return true;
  }
  if (result == -EINTR) return true;
  if (result == -ENOBUFS) return operation.kind == Operation::Kind::kReceive;
  if (result != -EAGAIN || operation.kind == Operation::Kind::kConnect) return false;
  operation.poll_events = operation.kind == Operation::Kind::kSend ? POLLOUT : POLLIN;
  return true;
}

void UringLoop::on_completion(const io_uring_cqe& completion) {
  if (completion.user_data == kNobody) return;
  if (completion.user_data == kWake) {
    eventfd_t value = 0;
    eventfd_read(wake_.get(), &value);
    submit_wake_poll();
    return;
  }
  auto& operation = *reinterpret_cast<Operation*>(completion.user_data);
  const int result = completion.res;
  Buffer received;
  if ((completion.flags & IORING_CQE_F_BUFFER) != 0) {
    received = lent_.take(completion.flags >> IORING_CQE_BUFFER_SHIFT, result);
  }
  if (is_to_be_retried(operation, result)) {
    if (!operation.cancelled) {
      if (!waiting_.empty() || !submit_operation(operation)) waiting_.push(operation);
      return;
    }
    operation.result = -ECANCELED;  // 6.4 and older say -ENOBUFS for a cancelled receive
  } else {
    operation.result = result;
    if (operation.kind == Operation::Kind::kReceive && result >= 0) {
      *operation.into = std::move(received);
    }
  }
  pending_.remove(operation);
  ready_.push(operation);
}

void UringLoop::turn(std::chrono::milliseconds timeout) {
  submit_waiting();
  int result = 0;
  if (timeout == std::chrono::milliseconds::zero() || !ready_.empty() || !waiting_.empty()) {
    result = io_uring_submit_and_get_events(&ring_.ring);
  } else {
    __kernel_timespec limit{};
    limit.tv_sec = timeout.count() / 1000;
    limit.tv_nsec = timeout.count() % 1000 * 1'000'000;
    io_uring_cqe* first = nullptr;
    const bool limited = timeout > std::chrono::milliseconds::zero();
    result = limited ? io_uring_submit_and_wait_timeout(&ring_.ring, &first, 1, &limit, nullptr)
                     : io_uring_submit_and_wait(&ring_.ring, 1);
  }
  // EBUSY, EAGAIN: the kernel wants completions reaped, or memory, before it takes more.
  CHECK(result >= 0 || result == -ETIME || result == -EINTR || result == -EBUSY ||
        result == -EAGAIN);
  refresh_now();
  immediate_left_ = kImmediatePerTurn;
  unsigned head = 0;
  unsigned count = 0;
  const io_uring_cqe* completion = nullptr;
  io_uring_for_each_cqe(&ring_.ring, head, completion) {
    on_completion(*completion);
    ++count;
  }
  io_uring_cq_advance(&ring_.ring, count);
  ready_.resume_all();
}

}  // namespace

Result<std::unique_ptr<Loop>> make_uring_loop() {
  Fd wake(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!wake) return fail_errno(errno, "making an eventfd");
  auto loop = std::make_unique<UringLoop>(std::move(wake));
  TRY(loop->make());
  return loop;
}

}  // namespace weft::runtime
