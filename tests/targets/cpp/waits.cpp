// SPDX-License-Identifier: Apache-2.0
// Threads that wait through libstdc++ and libpthread, each for something else below wait_NAME; and threads that wait for
// work: a pool that handles requests, which wait for an answer themselves, a ticker and one that accepts.
// `waits [SECONDS]`; the line has "threads":[{"name","tid","reason","waits","waited_ns"}], waited_ns being what the calls took.
#include "truth.h"

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <semaphore>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace std::chrono_literals;

namespace {

constexpr auto period = 5ms;
std::atomic<bool> ended;

struct Result {
	std::string name, reason;
	int tid = 0;
	uint64_t waits = 0, waited_nsec = 0;
};

// What the feeder and the threads share.
std::mutex mutex;
std::timed_mutex timed_mutex;
std::shared_mutex for_readers, for_writers;
std::mutex beside_condition;
std::condition_variable condition;
unsigned n_notified;
sem_t semaphore;
std::counting_semaphore<> counting(0);
pthread_barrier_t barrier;
std::mutex beside_promise;
std::shared_ptr<std::promise<void>> promise;

[[gnu::noinline]] void wait_mutex()
{
	std::lock_guard<std::mutex> guard(mutex);
}

[[gnu::noinline]] void wait_timed_mutex()
{
	if (timed_mutex.try_lock_for(1h))
		timed_mutex.unlock();
}

[[gnu::noinline]] void wait_reader()
{
	std::shared_lock<std::shared_mutex> guard(for_readers);
}

[[gnu::noinline]] void wait_writer()
{
	std::unique_lock<std::shared_mutex> guard(for_writers);
}

[[gnu::noinline]] void wait_condition()
{
	std::unique_lock<std::mutex> lock(beside_condition);
	unsigned before = n_notified;

	condition.wait(lock, [before] { return n_notified != before || ended; });
}

[[gnu::noinline]] void wait_future()
{
	std::future<void> future;

	{
		std::lock_guard<std::mutex> guard(beside_promise);
		if (ended)
			return;
		promise = std::make_shared<std::promise<void>>();
		future = promise->get_future();
	}
	future.wait();
}

[[gnu::noinline]] void wait_semaphore()
{
	sem_wait(&semaphore);
	__asm__ volatile("");
}

[[gnu::noinline]] void wait_counting()
{
	counting.acquire();
	__asm__ volatile("");
}

[[gnu::noinline]] void wait_barrier()
{
	pthread_barrier_wait(&barrier);
	__asm__ volatile("");
}

[[gnu::noinline]] void wait_sleep()
{
	std::this_thread::sleep_for(period);
	__asm__ volatile("");
}

[[gnu::noinline]] void wait_join()
{
	std::thread other([] { std::this_thread::sleep_for(period); });

	other.join();
}

[[gnu::noinline]] void run(Result &result, void (*wait)())
{
	result.tid = static_cast<int>(syscall(SYS_gettid));
	pthread_setname_np(pthread_self(), result.name.c_str());
	while (!ended) {
		uint64_t begin_nsec = truth_monotonic_nsec();

		wait();
		result.waited_nsec += truth_monotonic_nsec() - begin_nsec;
		result.waits++;
	}
}

// Keeps each lock most of the time, and ends all other waits once a period.
void feed_once()
{
	mutex.lock();
	timed_mutex.lock();
	for_readers.lock();
	for_writers.lock_shared();
	std::this_thread::sleep_for(period);
	for_writers.unlock_shared();
	for_readers.unlock();
	timed_mutex.unlock();
	mutex.unlock();
	sem_post(&semaphore);
	counting.release();
	{
		std::lock_guard<std::mutex> guard(beside_condition);
		n_notified++;
	}
	condition.notify_all();
	std::lock_guard<std::mutex> guard(beside_promise);
	if (promise)
		promise->set_value();
	promise = nullptr;
}

// --- Waiting for work ---

struct Pool {
	std::mutex mutex;
	std::condition_variable there_is_work;
	std::deque<std::function<void()>> requests;

	[[gnu::noinline]] std::function<void()> take_request()
	{
		std::unique_lock<std::mutex> lock(mutex);

		there_is_work.wait(lock, [this] { return !requests.empty() || ended; });
		if (requests.empty())
			return {};
		auto request = std::move(requests.front());
		requests.pop_front();
		return request;
	}

	void put(std::function<void()> request)
	{
		{
			std::lock_guard<std::mutex> guard(mutex);
			requests.push_back(std::move(request));
		}
		there_is_work.notify_one();
	}

	[[gnu::noinline]] void run_worker()
	{
		pthread_setname_np(pthread_self(), "worker");
		while (auto request = take_request())
			request();
	}
};

// An answer comes after a period, by a pipe or a condition variable of the request's own.
[[gnu::noinline]] void ask_pipe()
{
	int fds[2];
	char byte;

	if (pipe(fds) < 0)
		exit(71);
	std::thread answer([fds] {
		std::this_thread::sleep_for(period);
		if (write(fds[1], "x", 1) != 1)
			exit(71);
	});
	if (read(fds[0], &byte, 1) != 1)
		exit(71);
	answer.join();
	close(fds[0]);
	close(fds[1]);
}

[[gnu::noinline]] void ask_poll()
{
	int fds[2];
	pollfd fd = {};

	if (pipe(fds) < 0)
		exit(71);
	fd.fd = fds[0];
	fd.events = POLLIN;
	std::thread answer([fds] {
		std::this_thread::sleep_for(period);
		if (write(fds[1], "x", 1) != 1)
			exit(71);
	});
	poll(&fd, 1, -1);
	answer.join();
	close(fds[0]);
	close(fds[1]);
}

[[gnu::noinline]] void ask_condition()
{
	std::mutex beside;
	std::condition_variable answered;
	bool is_there = false;
	std::unique_lock<std::mutex> lock(beside);
	std::thread answer([&] {
		std::this_thread::sleep_for(period);
		std::lock_guard<std::mutex> guard(beside);
		is_there = true;
		answered.notify_one();
	});

	answered.wait(lock, [&] { return is_there; });
	lock.unlock();
	answer.join();
}

[[gnu::noinline]] void handle(unsigned number)
{
	switch (number % 3) {
	case 0:
		ask_pipe();
		break;
	case 1:
		ask_condition();
		break;
	default:
		ask_poll();
	}
	__asm__ volatile("");
}

[[gnu::noinline]] void tick()
{
	pthread_setname_np(pthread_self(), "ticker");
	while (!ended)
		std::this_thread::sleep_for(2ms);
}

sockaddr_in address;

[[gnu::noinline]] void accept_all(int listener)
{
	pthread_setname_np(pthread_self(), "acceptor");
	while (!ended) {
		int fd = accept(listener, nullptr, nullptr);

		if (fd >= 0)
			close(fd);
	}
}

void call_acceptor()
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)) < 0)
		exit(71);
	close(fd);
}

int make_listener()
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t size = sizeof(address);

	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, reinterpret_cast<sockaddr *>(&address), size) < 0 || listen(fd, 8) < 0 ||
	    getsockname(fd, reinterpret_cast<sockaddr *>(&address), &size) < 0)
		exit(71);
	return fd;
}

} // namespace

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	uint64_t end_nsec = truth_monotonic_nsec() + static_cast<uint64_t>(seconds * 1e9);
	const struct {
		const char *name, *reason;
		void (*wait)();
	} ways[] = {
		{"mutex", "lock", wait_mutex},
		{"timed_mutex", "lock", wait_timed_mutex},
		{"reader", "lock", wait_reader},
		{"writer", "lock", wait_writer},
		{"condition", "channel", wait_condition},
		{"future", "channel", wait_future},
		{"semaphore", "channel", wait_semaphore},
		{"counting", "channel", wait_counting},
		{"barrier", "channel", wait_barrier},
		{"sleep", "sleep", wait_sleep},
		{"join", "channel", wait_join},
	};
	std::vector<Result> results(sizeof(ways) / sizeof(ways[0]));
	std::vector<std::thread> threads;
	Pool pool;
	int listener = make_listener();
	unsigned number = 0;

	sem_init(&semaphore, 0, 0);
	pthread_barrier_init(&barrier, nullptr, 2);
	for (size_t i = 0; i < results.size(); i++) {
		results[i].name = ways[i].name;
		results[i].reason = ways[i].reason;
		threads.emplace_back(run, std::ref(results[i]), ways[i].wait);
	}
	std::thread other_side([] {
		pthread_setname_np(pthread_self(), "other side");
		while (!ended) {
			std::this_thread::sleep_for(period);
			pthread_barrier_wait(&barrier);
		}
	});
	for (unsigned i = 0; i < 4; i++)
		threads.emplace_back(&Pool::run_worker, &pool);
	threads.emplace_back(tick);
	threads.emplace_back(accept_all, listener);
	pthread_setname_np(pthread_self(), "feeder");
	while (truth_monotonic_nsec() < end_nsec && !truth_stopped()) {
		feed_once();
		pool.put([number] { handle(number); });
		number++;
		call_acceptor();
	}
	{
		std::lock_guard<std::mutex> guard(pool.mutex);
		ended = true;
	}
	pool.there_is_work.notify_all();
	// What they measured is all that is wanted of them: none is waited for.
	truth_print_open(nullptr, 0);
	std::printf(",\"threads\":[");
	for (size_t i = 0; i < results.size(); i++)
		std::printf("%s{\"name\":\"%s\",\"tid\":%d,\"reason\":\"%s\",\"waits\":%llu,\"waited_ns\":%llu}", i ? "," : "", results[i].name.c_str(),
				results[i].tid, results[i].reason.c_str(), static_cast<unsigned long long>(results[i].waits),
				static_cast<unsigned long long>(results[i].waited_nsec));
	std::printf("]}\n");
	std::fflush(stdout);
	_exit(0);
}
