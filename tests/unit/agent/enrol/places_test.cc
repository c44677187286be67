// Where things are: pods' cgroups, the cgroup2 mount, a process's cgroup.
#include "agent/enrol/cgroups.h"
#include "agent/enrol/pods.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace weft::enrol {
namespace {

constexpr const char* kUid = "6a2f-1b";

TEST(NamesPod, KnowsBothDrivers) {
  EXPECT_TRUE(names_pod("pod6a2f-1b", kUid));
  EXPECT_TRUE(names_pod("kubepods-burstable-pod6a2f_1b.slice", kUid));
  EXPECT_TRUE(names_pod("kubepods-pod6a2f_1b.slice", kUid));
}

TEST(NamesPod, DoesNotTakeAnotherPodsName) {
  EXPECT_FALSE(names_pod("pod6a2f-1b2", kUid));
  EXPECT_FALSE(names_pod("pod6a2f-1b-x", kUid));
  EXPECT_FALSE(names_pod("xpod6a2f-1b", kUid));
  EXPECT_FALSE(names_pod("6a2f-1b", kUid));
  EXPECT_FALSE(names_pod("pod", kUid));
}

class FolderTest : public ::testing::Test {
 protected:
  FolderTest()
      : root_(std::filesystem::temp_directory_path() / ("h6-places-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(root_);
  }
  ~FolderTest() override { std::filesystem::remove_all(root_); }

  void make(const std::string& folder, const std::string& processes) {
    std::filesystem::create_directories(root_ / folder);
    std::ofstream(root_ / folder / "cgroup.procs") << processes;
  }

  std::filesystem::path root_;
};

TEST_F(FolderTest, FindsThePodBelowItsQosClass) {
  make("kubepods/burstable/pod6a2f-1b/c1", "");
  make("kubepods/besteffort/pod6a2f-1c/c1", "");
  EXPECT_EQ(*find_pod_cgroup(root_, kUid), root_ / "kubepods/burstable/pod6a2f-1b");
}

TEST_F(FolderTest, SaysWhichPodHasNoCgroup) {
  make("kubepods/besteffort/pod6a2f-1c", "");
  const auto found = find_pod_cgroup(root_, kUid);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Code::kNotFound);
  EXPECT_NE(found.error().message.find(kUid), std::string::npos);
}

TEST_F(FolderTest, RefusesUidsThatCouldMatchAnything) {
  for (const std::string& uid : {std::string(), std::string("../x"), std::string(200, 'a')}) {
    const auto found = find_pod_cgroup(root_, uid);
    ASSERT_FALSE(found) << uid;
    EXPECT_EQ(found.error().code, Code::kInvalid);
  }
}

TEST_F(FolderTest, ListsProcessesOfThePodAndItsContainers) {
  make("pod", "1\n2\n");
  make("pod/c1", "3\n0\n");
  make("pod/c1/init", "4\n");
  std::vector<pid_t> found = *processes_in(root_ / "pod");
  std::ranges::sort(found);
  EXPECT_EQ(found, (std::vector<pid_t>{1, 2, 3, 4})) << "0 is outside our pid namespace";
}

TEST_F(FolderTest, OwnNamespaceIsNotThePods) {
  make("pod6a2f-1b", std::to_string(getpid()) + "\n");
  const auto netns = find_pod_netns(root_, kUid);
  ASSERT_FALSE(netns);
  EXPECT_EQ(netns.error().code, Code::kNotFound);
}

TEST(Cgroup2Mount, IsFoundAmongOthers) {
  EXPECT_EQ(*cgroup2_mount_in("tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"
                              "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"
                              "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"),
            "/sys/fs/cgroup/unified");
  EXPECT_EQ(*cgroup2_mount_in("none /mnt/two\\040words cgroup2 rw 0 0\n"), "/mnt/two words");
}

TEST(Cgroup2Mount, IsAskedForWhereThereIsNone) {
  for (const char* mounts : {"", "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n", "\\", "a b\n"}) {
    const auto found = cgroup2_mount_in(mounts);
    ASSERT_FALSE(found);
    EXPECT_NE(found.error().message.find("--cgroup-root"), std::string::npos);
  }
}

TEST(CgroupOfProcess, IsTheLineOfVersionTwo) {
  EXPECT_EQ(*cgroup_in("4:memory:/old\n0::/kubepods/podx/c\n"), "/kubepods/podx/c");
  EXPECT_EQ(*cgroup_in("0::/\n"), "/");
  EXPECT_FALSE(cgroup_in("4:memory:/old\n"));
  EXPECT_FALSE(cgroup_in("0::/../elsewhere\n"));
  EXPECT_FALSE(cgroup_in(""));
}

}  // namespace
}  // namespace weft::enrol
