module tsiot-server

go 1.19
