# What a Ruby server does, with the standard library alone.
require "socket"
require "tmpdir"
require "securerandom"
require "open3"
require "digest"

PROBES = {
  "thread" => -> { raise "thread" unless Thread.new { 42 }.value == 42 },
  "child" => -> { out, = Open3.capture2("/bin/sh", "-c", "echo child"); raise out unless out == "child\n" },
  "fork" => -> { pid = fork { exit! 7 }; Process.wait(pid); raise "fork" unless $?.exitstatus == 7 },
  "name" => -> { raise "name" unless Addrinfo.getaddrinfo("localhost", 80, :INET, :STREAM)[0].ip_address == "127.0.0.1" },
  "file" => -> { Dir.mktmpdir { |d| File.write(d + "/x", "x") } },
  "random" => -> { Digest::SHA256.hexdigest(SecureRandom.bytes(16)) },
  "interfaces" => -> { raise "no eth0" unless Socket.getifaddrs.any? { |i| i.name == "eth0" } },
}

trap("TERM") { puts "bye"; $stdout.flush; exit! 0 }
server = TCPServer.new("0.0.0.0", ENV["PORT"].to_i)
loop do
  Thread.new(server.accept) do |c|
    path = c.gets.to_s.split[1]
    nil until (line = c.gets).nil? || line.strip.empty?
    text = "hello from ruby #{RUBY_VERSION}\n"
    if path == "/probe"
      text = PROBES.map { |n, f| begin; f.call; "#{n}=ok\n"; rescue Exception => e; "#{n}=#{e.inspect}\n" end }.join
    end
    c.write("HTTP/1.1 200 OK\r\nContent-Length: #{text.bytesize}\r\nConnection: close\r\n\r\n#{text}")
    c.close
  rescue SystemCallError
    nil
  end
end
